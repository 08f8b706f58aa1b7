"""What a type of job says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy.orm import Session

from phoundry.services.context import Context
from phoundry.services.job_workers import Wording
from phoundry.store.tables import JobRow


@dataclass(frozen=True, slots=True)
class Admitted:
    """A job that nothing is known against.

    model       the reference whose files its worker needs
    pins        written over the spec's keys, or beside them: versions that names stand for now
    """

    model: str
    pins: dict[str, Any] = field(default_factory=dict[str, Any])
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    sources: dict[str, str] = field(default_factory=dict[str, str])
    notices: list[str] = field(default_factory=list[str])


class JobKind(Protocol):
    """`module`: of the worker. `doing`: `Training in process 4711.`"""

    module: str
    doing: str

    def admit(self, context: Context, spec: Any) -> Admitted:
        """Refuse what can be known to fail, before anything starts.

        Raises:
            PhoundryError: all that is wrong with it.
        """
        ...

    def place(self, context: Context, spec: dict[str, Any], run_dir: Path) -> None:
        """Put into the run folder what must stay as it is now. `spec`: as it is stored."""
        ...

    def revive(self, session: Session, context: Context, row: JobRow) -> None:
        """Let what the job needs be made again, because it was asked for anew.

        Raises:
            NotFound: what it goes on from is gone.
        """
        ...

    def worker_spec(self, session: Session, context: Context, row: JobRow) -> dict[str, Any] | None:
        """What the worker is told, or None while its model is being made."""
        ...

    def words(self, context: Context, row: JobRow) -> Wording:
        """The worker's texts with the names that the user gave."""
        ...

    def place_reached(self, row: JobRow) -> str:
        """`step 40`: where its worker was last."""
        ...

    def goes_on(self, row: JobRow) -> str:
        """`goes on from step 40`, or `begins anew`: what a resumed job does."""
        ...

    def cancelled(self, row: JobRow) -> list[str]:
        """What to tell about a job that ends cancelled: what there is of it, or why nothing."""
        ...


def output(row: JobRow) -> Path | None:
    """The folder of what a job has made, if there is any."""
    folder = Path(row.run_dir) / "output"
    return folder if folder.is_dir() else None
