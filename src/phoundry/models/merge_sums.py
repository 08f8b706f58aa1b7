"""Is every merged matrix the sum that it should be? Compared value by value.

Logits show a wrong scale or a wrong base, but not one forgotten matrix among two hundred: its share
of what training changed is as small as what rounding costs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.errors import ModelError
from phoundry.models.adapter import Delta, read_adapter
from phoundry.models.tensors import Weights

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

# Unit of rounding of each type, and what float32 may lose in the product of the two small matrices.
_ROUNDING = {"BF16": 2.0**-8, "F16": 2.0**-11, "F32": 2.0**-22}
_PRODUCT = 1e-5
_ROWS = 1024  # compared at once


def check_sums(base: Path, adapter: Path, merged: Path) -> None:
    """Hold `merged` against `base` and `adapter`; a few rows are in memory at a time.

    Raises:
        ModelError: a tensor is missing or too many, was changed though no adapter changes it, or
            is not the sum.
    """
    before, after, deltas = Weights(base), Weights(merged), read_adapter(adapter)
    if odd := sorted(set(before.names) ^ set(after.names)):
        raise _wrong(odd[0], "is in only one of the two")
    for name in before.names:
        if before.info(name).shape != after.info(name).shape:
            raise _wrong(name, "has another shape than the base's")
        if name not in deltas:
            if before.raw(name) != after.raw(name):
                raise _wrong(name, "was changed, and no adapter changes it")
        elif not _is_sum(before, after, name, deltas[name]):
            raise _wrong(name, "is not the base's plus the adapter's")


def _is_sum(before: Weights, after: Weights, name: str, delta: Delta) -> bool:
    import numpy as np

    found, start = after.floats(name), before.floats(name)
    unit = _ROUNDING[after.info(name).dtype]
    for row in range(0, len(found), _ROWS):
        part: Any = delta.up[row : row + _ROWS] @ (delta.scale * delta.down)
        slack = _PRODUCT * np.abs(part).max(initial=0.0)
        part += start[row : row + _ROWS]
        bound = unit * np.abs(part) + slack
        if not (np.abs(found[row : row + _ROWS] - part) <= bound).all():  # so that NaN fails
            return False
    return True


def _wrong(name: str, reason: str) -> ModelError:
    return ModelError(
        f"The merged model is not what was to be written: '{name}' {reason}.",
        remedy="Register it again; if it comes back, tell the authors of Phoundry.",
    )
