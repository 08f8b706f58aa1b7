"""Times `phoundry --help` as a whole process, beside an empty Python, turn by turn.

    python benchmarks/startup.py [--runs 15]

Ends with one JSON line: medians in seconds, and their difference.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "help": [str(Path(sys.executable).with_name("phoundry")), "--help"],
    "python": [sys.executable, "-c", "pass"],
}


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    medians = {name: statistics.median(found[1:]) for name, found in times.items()}
    for name, found in times.items():
        print(f"{name:8} median {medians[name]:.3f} s, {min(found):.3f} to {max(found):.3f} s")
    print(
        json.dumps(
            {
                "help_seconds": round(medians["help"], 3),
                "python_seconds": round(medians["python"], 3),
                "added_seconds": round(medians["help"] - medians["python"], 3),
            }
        )
    )


if __name__ == "__main__":
    main()
