"""`python -m phoundry.promptflow SCRIPT [ARGUMENTS …]`: run a script that imports `promptflow`."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from phoundry.promptflow import provided

USAGE = """Usage: python -m phoundry.promptflow SCRIPT [ARGUMENTS ...]
       python -m phoundry.promptflow -m MODULE [ARGUMENTS ...]

Run a Python script that says `from promptflow.client import PFClient`, as `python SCRIPT` would,
with Phoundry behind the names: runs, connections and flows are those of this home (PHOUNDRY_HOME).
No promptflow package is needed; one that is installed is not used.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the script; the exit code is its own, 2 where the call is wrong."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="", file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    if arguments[0] == "-m":
        if len(arguments) == 1:
            print("-m names no module; the name comes after it.", file=sys.stderr)  # noqa: T201
            return 2
        sys.argv[:] = arguments[1:]
        with provided():
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return 0
    script = Path(arguments[0])
    if not script.is_file():
        print(  # noqa: T201
            f"There is no script {script}. Give its path first, its arguments after it.",
            file=sys.stderr,
        )
        return 2
    sys.argv[:] = arguments
    sys.path[0] = str(script.resolve().parent)  # as `python SCRIPT` has it
    with provided():
        runpy.run_path(str(script), run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
