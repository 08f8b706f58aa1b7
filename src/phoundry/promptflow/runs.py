"""`client.runs` of a script, and `Run`: what is known of one run."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.errors import UsageError
from phoundry.promptflow.details import Details, as_table, columns_of
from phoundry.promptflow.errors import (
    InvalidRunStatusError,
    RunExistsError,
    RunNotFoundError,
    finding,
)

if TYPE_CHECKING:
    from phoundry.client import Client
    from phoundry.specs.flow_run import FlowRun, FlowRunSpec

MOST_LISTED, MOST_DETAILS = 50, 100


class ListViewType(Enum):
    """Which runs a list has."""

    ACTIVE_ONLY = "ActiveOnly"
    ARCHIVED_ONLY = "ArchivedOnly"
    ALL = "All"


@dataclass
class Run:
    """A run as a script sees it: `name`, `status`, `properties` and the others are those that
    `pf run show` prints. `metrics` are what its aggregation logged."""

    name: str
    status: str
    display_name: str
    description: str | None
    tags: dict[str, str]
    properties: dict[str, Any]
    created_on: Any
    flow: str
    data: str | None
    run: str | None
    column_mapping: dict[str, Any]
    variant: str | None
    printed: dict[str, Any] = field(repr=False)

    def _to_dict(self) -> dict[str, Any]:
        return dict(self.printed)


def seen(run: FlowRun) -> Run:
    from phoundry.cli.pf.runs import as_printed

    printed = as_printed(run)
    return Run(
        name=run.name,
        status=run.status,
        display_name=printed["display_name"],
        description=printed["description"],
        tags=dict(run.tags),
        properties=printed["properties"],
        created_on=run.created,
        flow=printed["properties"]["flow_path"],
        data=run.data,
        run=run.run,
        column_mapping=dict(run.column_mapping),
        variant=run.variant,
        printed=printed,
    )


def load_run(source: str | Path, params_override: Sequence[Mapping[str, Any]] = ()) -> FlowRunSpec:
    """What a run's YAML file asks for; `client.runs.create_or_update` runs it.

    Raises:
        NotFound, InvalidInput: no such file, or it is no run; every fault with its line.
    """
    from phoundry.cli.flow_run_options import spec_of
    from phoundry.client.checking import checked
    from phoundry.specs.flow_run import FlowRunSpec

    written = spec_of(Path(source), {}, None)
    given = {key: value for each in params_override for key, value in each.items()}
    return checked(FlowRunSpec, written.model_dump(by_alias=True) | given, "The run")


def name_of(run: Any) -> str:
    """The name of a run that is given by name or as itself."""
    if isinstance(run, Run):
        return run.name
    if isinstance(run, str):
        return run
    raise UsageError(
        f"A run is named by a text or a Run, not by {type(run).__name__}.",
        remedy="Give what `client.run(…)` returned, or its name.",
    )


class RunOperations:
    """`client.runs`. A run is given by its name or as a `Run`."""

    def __init__(self, home: Client) -> None:
        self._home = home

    def create_or_update(self, run: FlowRunSpec | Run, *, stream: bool = False, **_: Any) -> Run:
        """Run what `load_run` read, to its end; a `Run` is shown as it is now."""
        if isinstance(run, Run):
            return self.get(run)
        from phoundry.errors import Conflict

        try:
            made = self._home.runs.create(run)
        except Conflict as error:
            if run.name and f"'{run.name}'" in error.message:
                raise RunExistsError(error.message, remedy=error.remedy) from error
            raise
        if stream:
            return self.stream(made.name)
        return seen(made)

    def get(self, name: str | Run) -> Run:
        """Raises RunNotFoundError."""
        return seen(self._shown(name))

    def list(
        self,
        max_results: int | None = MOST_LISTED,
        *,
        list_view_type: ListViewType = ListViewType.ACTIVE_ONLY,
    ) -> list[Run]:
        """The newest first."""
        found = self._home.runs.list(
            limit=max_results,
            archived=list_view_type is ListViewType.ARCHIVED_ONLY,
            everything=list_view_type is ListViewType.ALL,
        )
        return [seen(run) for run in found]

    def stream(self, name: str | Run, raise_on_error: bool = True) -> Run:
        """Print what the run printed, and a summary.

        Raises:
            InvalidRunStatusError: the run as a whole failed or was cancelled; lines that failed
                raise nothing.
        """
        from phoundry.cli.pf.runs import stream

        found = self._shown(name)
        stream({"name": found.name})
        if found.status in ("Failed", "Canceled"):
            said = (found.error or {}).get("message") or f"Run is {found.status.lower()}."
            if raise_on_error:
                raise InvalidRunStatusError(
                    said, remedy=f"Look at it with: phoundry run show {found.name}"
                )
            print(said, file=sys.stderr)  # noqa: T201
        return seen(found)

    def get_details(
        self, name: str | Run, max_results: int = MOST_DETAILS, all_results: bool = False
    ) -> Any:
        """Inputs and outputs by line, as a pandas DataFrame; without pandas, as a `Details`."""
        if not all_results and max_results < 1:
            raise UsageError(f"'max_results' must be a positive integer, got {max_results!r}.")
        found = self._shown(name)
        rows = self._home.runs.details(found.name, limit=None if all_results else max_results)
        return as_table(columns_of(rows))

    def get_metrics(self, name: str | Run) -> dict[str, Any]:
        return dict(self._shown(name).metrics)

    def visualize(self, runs: Any, **more: Any) -> None:
        """Write the report of one run or several, and print where; `html_path` names the file."""
        names = [name_of(run) for run in (runs if isinstance(runs, list | tuple) else [runs])]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        if not names:
            raise UsageError("No run is named.", remedy="Give one run, or a list of them.")
        folder = Path(self._shown(names[0]).output)
        for name in names[1:]:
            self._shown(name)
        target = Path(more.get("html_path") or folder / "report.html")
        written = self._home.runs.visualize(names, target).absolute()
        print(f"The HTML file is generated at {str(written)!r}.")  # noqa: T201

    def update(
        self,
        name: str | Run,
        display_name: str | None = None,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        **_: Any,
    ) -> Run:
        found = self._shown(name)
        merged = {**found.tags, **tags} if tags else None
        changed = self._home.runs.update(
            found.name, display_name=display_name, description=description, tags=merged
        )
        return seen(changed)

    def archive(self, name: str | Run) -> Run:
        return seen(self._home.runs.archive(self._shown(name).name))

    def restore(self, name: str | Run) -> Run:
        return seen(self._home.runs.restore(self._shown(name).name))

    def delete(self, name: str | Run) -> None:
        self._home.runs.delete(self._shown(name).name)

    def _shown(self, run: Any) -> FlowRun:
        name = name_of(run)
        with finding(name, RunNotFoundError):
            return self._home.runs.show(name)


__all__ = ["Details", "ListViewType", "Run", "RunOperations", "load_run", "name_of", "seen"]
