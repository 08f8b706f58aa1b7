"""The worker: `python -m phoundry.training RUN_DIR` (contract: docs/design/README.md)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phoundry.settings import Settings
from phoundry.specs.finetune import FineTuneParameters
from phoundry.spool import Spool
from phoundry.training import machine
from phoundry.training.spec import TrainingSpec
from phoundry.worker import main


class SpoolReporter:
    """Events to the spool, lines to standard output (the job's log)."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool

    def event(self, kind: str, **data: Any) -> None:
        self.spool.append(kind, **data)

    def line(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def parameter_table(parameters: FineTuneParameters, sources: Mapping[str, str]) -> str:
    """Every resolved parameter with where it came from, aligned."""
    rows = [(name, str(value), sources.get(name, "")) for name, value in parameters]
    name_width, value_width = (max(len(row[i]) for row in rows) for i in (0, 1))
    return "\n".join(f"{n:<{name_width}}  {v:<{value_width}}  {s}".rstrip() for n, v, s in rows)


def run(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """The task of a training worker; see `phoundry.training.loop.train`."""
    machine.prepare_process()
    from transformers.utils import logging

    from phoundry.training.checkpoint import CheckpointFolder
    from phoundry.training.loop import train

    logging.disable_progress_bar()  # the log is for people; bars of carriage returns are not
    parameters = FineTuneParameters.model_validate(spec["parameters"])
    validation, cache = spec.get("validation_path"), spec.get("cache_dir")
    training = TrainingSpec(
        checkpoint_dir=Path(spec["checkpoint_dir"]),
        train_path=Path(spec["train_path"]),
        validation_path=Path(validation) if validation else None,
        parameters=parameters,
        output_dir=run_dir / "output",
        sources=spec.get("sources") or {},
        cache_dir=Path(cache) if cache else None,
        memory_limit=Settings().memory_limit,
    )
    reporter = SpoolReporter(spool)
    reporter.line(parameter_table(parameters, training.sources))
    folder = CheckpointFolder(run_dir / "checkpoints", keep=parameters.save_total_limit)
    result = train(training, reporter, folder)
    return {"metrics": result.metrics(), "output": str(result.output)}


if __name__ == "__main__":
    main(run)
