"""A worker for the tests: does what its spec says."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from phoundry.errors import InvalidInput
from phoundry.spool import Spool
from phoundry.worker import main


def work(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    spool.append("started")
    if spec.get("fail") == "expected":
        raise InvalidInput("The spec is bad.", remedy="Mend it.")
    if spec.get("fail") == "unexpected":
        raise ZeroDivisionError("by nothing")
    until = time.monotonic() + spec.get("seconds", 0)
    while time.monotonic() < until:
        time.sleep(0.05)  # a signal that comes just as a sleep begins is heard at its end
    return {"answer": spec.get("answer"), "sees_sklearn": find_spec("sklearn") is not None}


if __name__ == "__main__":
    main(work)
