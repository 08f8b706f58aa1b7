"""A converted file read back: every value must be what its kind can say of the checkpoint's.

Each kind rounds within bounds that follow from its block alone. So a tensor in the wrong place,
rows in the wrong order, or a value lost on the way is found in any kind, however few its bits are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phoundry.errors import ModelError
from phoundry.models.architectures import Architecture, unpermute
from phoundry.models.gguf_file import GGUFFile
from phoundry.models.quantize import AT_ONCE, BLOCK
from phoundry.models.tensors import Weights

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

_HALF = 2.0**-11  # of a float16's value: half a unit in its last place
_TINY = 2.0**-25  # half of the smallest float16


class ReadBack:
    """The tensors of `file` under Hugging Face's names, in Hugging Face's order."""

    def __init__(self, file: GGUFFile, kind: Architecture, config: dict[str, Any]) -> None:
        self._file = file
        self._kind, self._config = kind, config

    def __call__(self, name: str) -> Floats:
        """Tensor `name`, dequantised. Raises ModelError where the file has none of that name."""
        import numpy as np

        ours = self._kind.gguf_name(name)
        if ours is None or ours not in self._file.tensors:
            raise ModelError(f"The file that was made lacks the tensor '{name}'.", remedy=_AGAIN)
        values = self._file.floats(ours)
        if heads := self._kind.rotated_heads(name, self._config):
            values = unpermute(values, heads)
        if offset := self._kind.offset(name):
            values = values - np.float32(offset)
        return np.ascontiguousarray(values)

    def type_of(self, name: str) -> str:
        """`Q4_0`, `F32`, …"""
        from gguf.constants import GGMLQuantizationType

        ours = str(self._kind.gguf_name(name))
        return GGMLQuantizationType(self._file.tensors[ours].kind).name


_AGAIN = "Convert again; if it comes back, tell the authors of Phoundry: this is a mistake of ours."


class Compared:
    """`ReadBack`, held against the checkpoint at the first reading of each tensor."""

    def __init__(self, made: ReadBack, weights: Weights) -> None:
        self._made, self._weights = made, weights
        self.seen: set[str] = set()

    def __call__(self, name: str) -> Floats:
        """Tensor `name` of the file.

        Raises:
            ModelError: it is not what was to be written.
        """
        found = self._made(name)
        if name not in self.seen:
            self._compare(name, found)
            self.seen.add(name)
        return found

    def _compare(self, name: str, found: Floats) -> None:
        expected, kind = self._weights.floats(name), self._made.type_of(name)
        if found.shape != expected.shape:
            reason = f"has the shape {found.shape} instead of {expected.shape}"
        elif (excess := _excess(found, expected, kind)) > 1:
            reason = f"has a value {excess:.3g} times as far off as {kind} can be"
        else:
            return
        raise ModelError(f"In the file that was made, '{name}' {reason}.", remedy=_AGAIN)


def _excess(found: Floats, expected: Floats, kind: str) -> float:
    """The largest difference, as a share of what `kind` may differ there; NaN is infinite."""
    import numpy as np

    if kind in ("F32", "F16", "BF16"):
        left, right = found.reshape(-1, 1), expected.reshape(-1, 1)
    else:
        left, right = found.reshape(-1, BLOCK), expected.reshape(-1, BLOCK)
    worst, step = 0.0, AT_ONCE // left.shape[1]
    for start in range(0, len(left), step):
        part = right[start : start + step]
        share = np.abs(left[start : start + step] - part) / allowed(part, kind)
        worst = max(worst, float(np.nan_to_num(share, nan=np.inf).max(initial=0.0)))
    return worst


def allowed(blocks: Floats, kind: str) -> Any:
    """What `kind` may differ from `blocks` `(n, 32)` by, one bound a block or value.

    Half a step of the block's scale, the rounding of the scale itself (and of Q5_1's minimum) to
    float16, and a little for float32's own. In Q4_0 the end of the range that is not the furthest
    value is cut by up to a step.
    """
    import numpy as np

    size = np.abs(blocks).max(axis=1, keepdims=True)
    if kind == "F32":
        bound = size * 2.0**-22  # Gemma's norms have one added, and taken off again
    elif kind == "BF16":
        bound = size * 2.0**-8
    elif kind == "F16":
        bound = size * _HALF
    elif kind == "Q8_0":
        bound = size * (0.5 / 127 + _HALF) + 127 * _TINY
    elif kind == "Q4_0":
        bound = size * (1 / 8 + _HALF) + 8 * _TINY
    else:
        low = blocks.min(axis=1, keepdims=True)
        span = blocks.max(axis=1, keepdims=True) - low
        bound = span * (0.5 / 31 + _HALF) + np.abs(low) * _HALF + 32 * _TINY
    return bound * 1.001 + 2.0**-24 * (kind == "F32") + _TINY
