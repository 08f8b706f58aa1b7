"""The command line: one noun a file, thin over the client."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (`sys.argv` unless given) and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:2] == ["flow", "test"]:
        from phoundry.cli.quick import quick

        try:
            code = quick(words[2:])
        except BrokenPipeError:
            return _left()
        except OSError as error:
            from phoundry.cli.app import refused

            return refused(error, words)
        if code is not None:
            return code
    from phoundry.cli.app import main as whole

    return whole(words)


def _left() -> int:
    """Whoever read our output has gone: nothing more is written, at exit either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return 1
