"""The worker: `python -m phoundry.training RUN_DIR` (contract: docs/design/README.md)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from phoundry.settings import Settings
from phoundry.spool import Spool
from phoundry.training import machine
from phoundry.training.interrupt import StopSwitch
from phoundry.training.spec import TrainingSpec
from phoundry.worker import main, stop_reason


class SpoolReporter:
    """Events to the spool, lines to standard output (the job's log)."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool

    def event(self, kind: str, **data: Any) -> None:
        self.spool.append(kind, **data)

    def line(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def run(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """The task of a training worker; see `phoundry.training.loop.train`."""
    stop = StopSwitch(lambda: stop_reason(run_dir))
    stop.listen()
    machine.keep_freed_memory()
    from phoundry.training.checkpoints.folder import CheckpointFolder
    from phoundry.training.loop import train

    limit = Settings().memory_limit
    training = TrainingSpec.from_json(spec, run_dir / "output", memory_limit=limit)
    reporter = SpoolReporter(spool)
    folder = CheckpointFolder(run_dir / "checkpoints", keep=training.parameters.save_total_limit)
    result = train(training, reporter, folder, stop=stop)
    status = "cancelled" if result.cancelled else "succeeded"
    return {"status": status, "metrics": result.metrics(), "output": str(result.output)}


if __name__ == "__main__":
    main(run, lean=True)
