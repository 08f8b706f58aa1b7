"""Fine-tuning jobs (`type: finetuning`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from phoundry.services import bases, job_records
from phoundry.services.context import Context
from phoundry.services.job_checks import check, check_fits
from phoundry.services.job_kinds.base import Admitted
from phoundry.services.job_workers import Wording, data_paths, worker_spec
from phoundry.specs.job import FineTuningJobSpec
from phoundry.store.tables import JobRow


class FineTuning:
    module = "phoundry.training"
    doing = "Training"

    def admit(self, context: Context, spec: FineTuningJobSpec) -> Admitted:
        """See `job_checks.check`.

        Raises:
            NotFound: the model or the data.
            InvalidInput: the parameters, all faults together.
            InsufficientResources: the training does not fit this machine's memory.
        """
        found = check(context, spec)
        if found.config is not None:  # else the worker checks once it has the model's files
            check_fits(found.config, found.parameters)
        return Admitted(
            model=spec.model,
            pins=dict(found.pins),
            parameters=found.parameters.model_dump(mode="json"),
            sources=dict(found.sources),
            notices=list(found.notices),
        )

    def place(self, context: Context, spec: dict[str, Any], run_dir: Path) -> None:
        """Nothing: the blobs of its data stay while a row names them."""

    def revive(self, session: Session, context: Context, row: JobRow) -> None:
        data_paths(context, row.spec, Path(row.run_dir))  # raises if they are gone
        bases.retry(session, context, row.spec["model"])

    def worker_spec(self, session: Session, context: Context, row: JobRow) -> dict[str, Any] | None:
        checkpoint = bases.checkpoint(session, context, row.spec["model"])
        if checkpoint is None:
            return None
        run_dir = Path(row.run_dir)
        return worker_spec(context, row.spec, row.parameters, row.sources, checkpoint, run_dir)

    def words(self, context: Context, row: JobRow) -> Wording:
        return Wording.of(context, Path(row.run_dir), row.spec)

    def place_reached(self, row: JobRow) -> str:
        return f"step {row.progress.get('step', 0)}"

    def goes_on(self, row: JobRow) -> str:
        step = job_records.goes_on_from(Path(row.run_dir), row.parameters)
        return "begins anew" if step is None else f"goes on from step {step}"

    def cancelled(self, row: JobRow) -> list[str]:
        run_dir = Path(row.run_dir)
        if not job_records.kept_output(run_dir):
            return job_records.nothing_written(run_dir, row.parameters)
        step, end = (row.progress.get(name, 0) for name in ("step", "max_steps"))
        kept = int(row.metrics.get("output_step", step))
        return [
            f"Cancelled at step {step} of {end}; its output is the state of step {kept}: "
            f"`phoundry model register NAME --job {row.name}`."
        ]
