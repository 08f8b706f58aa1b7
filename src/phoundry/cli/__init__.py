"""The command line: one noun a file, thin over the client."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (`sys.argv` unless given) and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:2] == ["flow", "test"]:
        from phoundry.cli.quick import quick

        code = quick(words[2:])
        if code is not None:
            return code
    from phoundry.cli.app import main as whole

    return whole(words)
