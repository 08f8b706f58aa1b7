"""What was put right without asking: counted by row, said once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

from phoundry.data.row import AnyRow

# For each kind, how it is told. `{n}` is the number of rows.
TOLD = {
    "joined": "{n}: turns of one role that followed each other were joined with an empty line.",
    "answer first": "{n}: the conversation began with an answer to nothing; it was left out.",
    "number": "{n}: a number was taken as text.",
    "prompt answers": "{n}: answers within the prompt are shown to the model and not learnt.",
}

Fixes: TypeAlias = Counter[str]
Convert: TypeAlias = Callable[[dict[str, Any], Fixes], AnyRow]


def told(fixes: Fixes) -> list[str]:
    """A sentence for each kind."""
    return [
        TOLD[kind].format(n=f"{number:,} row" + ("s" if number > 1 else ""))
        for kind, number in sorted(fixes.items())
        if number
    ]
