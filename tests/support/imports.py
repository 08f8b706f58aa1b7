"""What a process imported: of the log that `python -X importtime` writes, at next to no cost."""

from __future__ import annotations

import re

WATCH = ("-X", "importtime")
# Of what workers import, what costs most and has no part in what they do.
COMPILER = frozenset({"torch._dynamo.eval_frame", "torch._inductor", "torch.distributed.tensor"})
# A part of each: the name alone is told of one that looks as if it were not installed, too.
TABLES = frozenset({"scipy._lib", "sklearn.base", "pandas.core"})
HEAVY = COMPILER | TABLES | {"sympy", "torch", "transformers", "mlflow", "peft", "accelerate"}
_LINE = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)


def heavy_imports(log: str) -> set[str]:
    """Which of `HEAVY` were imported, of a process that was started with `WATCH`."""
    found = set(_LINE.findall(log))
    assert "encodings" in found, "this process was not watched"
    return found & HEAVY
