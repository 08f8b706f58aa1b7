"""Values as llama.cpp stores them: F32, F16, BF16, Q8_0, Q5_1, Q4_0.

The three quantised kinds are blocks of 32 values of a row. Their bytes are those of the `gguf`
package and of llama.cpp's own quantiser (tested against both), made in strides that fit into the
processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from phoundry.errors import InvalidInput
from phoundry.models.tensors import to_bfloat16
from phoundry.specs.quantization import Quantization

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from gguf.constants import GGMLQuantizationType

    Floats = npt.NDArray[np.float32]

# general.file_type of a file whose matrices are of this kind (gguf.constants.LlamaFileType).
FILE_TYPES: dict[Quantization, int] = {
    "Q8_0": 7,
    "Q5_1": 9,
    "Q4_0": 2,
    "F16": 1,
    "BF16": 32,
    "F32": 0,
}
BLOCK = 32
AT_ONCE = 1 << 17  # values; half a megabyte a temporary
_BLOCKED = ("Q8_0", "Q5_1", "Q4_0")
# The logits' own matrix, which llama-quantize keeps at Q6_K in files of these kinds. We have no
# Q6_K; Q8_0 is the next better one.
_LOGITS = {"Q5_1": "Q8_0", "Q4_0": "Q8_0"}


def kind_for(
    shape: tuple[int, ...], quantization: str, *, logits: bool = False
) -> GGMLQuantizationType:
    """The type of a tensor in a file of `quantization`.

    Vectors stay float32; rows that are no whole blocks become F16; `logits`: the matrix that makes
    them (the embedding where the two are tied), which suffers most from few bits.
    """
    from gguf.constants import GGMLQuantizationType

    if len(shape) < 2:
        return GGMLQuantizationType.F32
    if quantization in _BLOCKED and shape[-1] % BLOCK:
        return GGMLQuantizationType.F16
    return GGMLQuantizationType[_LOGITS.get(quantization, quantization) if logits else quantization]


def quantize(name: str, values: Floats, kind: GGMLQuantizationType) -> npt.NDArray[Any]:
    """`values` as the flat bytes of `kind`.

    Raises:
        InvalidInput: tensor `name` holds infinities or NaN, or values too large for F16.
    """
    import numpy as np

    if not np.isfinite(values).all():
        raise InvalidInput(
            f"The tensor '{name}' holds values that are not finite: the training diverged.",
            remedy="Train again with a lower learning rate.",
        )
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    if kind.name == "F32":
        return flat.view(np.uint8)
    if kind.name == "BF16":
        return np.frombuffer(to_bfloat16(flat), np.uint8)
    if kind.name == "F16":
        if flat.size and np.abs(flat).max() > np.finfo(np.float16).max:
            raise InvalidInput(f"The tensor '{name}' is too large for F16.", remedy="Use BF16.")
        return flat.astype(np.float16).view(np.uint8)
    size, encode = _ENCODERS[kind.name]
    blocks = flat.reshape(-1, BLOCK)
    out = np.empty((len(blocks), size), np.uint8)
    step = AT_ONCE // BLOCK
    for start in range(0, len(blocks), step):
        encode(blocks[start : start + step], out[start : start + step])
    return out.reshape(-1)


def _inverse(scale: Floats) -> Floats:
    """`1 / scale`; 0 for blocks of zeros, and of values so small that float16 has none of them."""
    import numpy as np

    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scale
    inverse[~np.isfinite(inverse)] = 0
    return inverse


def _halves(values: Floats) -> npt.NDArray[np.uint8]:
    import numpy as np

    return values.astype(np.float16).view(np.uint8)


def _q8_0(part: Floats, out: npt.NDArray[np.uint8]) -> None:
    """A float16 scale `d = max|x| / 127`, then `round(x / d)` as int8, halves away from zero."""
    import numpy as np

    scale = np.abs(part).max(axis=1, keepdims=True) / np.float32(127)
    scaled = part * _inverse(scale)
    whole = np.trunc(scaled)
    whole += np.trunc(2 * (scaled - whole))
    out[:, :2] = _halves(scale)
    out[:, 2:] = whole.astype(np.int8).view(np.uint8)


def _q4_0(part: Floats, out: npt.NDArray[np.uint8]) -> None:
    """A float16 scale `d = m / -8` for the value `m` that is furthest from zero; `x / d + 8`.

    Four bits each, halves up: the first 16 values in the low ones, the others in the high ones.
    """
    import numpy as np

    furthest = np.abs(part).argmax(axis=1, keepdims=True)
    scale = np.take_along_axis(part, furthest, axis=1) / np.float32(-8)
    scaled = part * _inverse(scale)
    scaled += np.float32(8.5)
    levels = np.minimum(scaled.astype(np.uint8), 15)
    out[:, :2] = _halves(scale)
    out[:, 2:] = levels[:, :16] | levels[:, 16:] << 4


def _q5_1(part: Floats, out: npt.NDArray[np.uint8]) -> None:
    """Float16 `d = (max - min) / 31` and `min`; `(x - min) / d` in five bits, halves up.

    The fifth bits of all 32 come first, as a little-endian number.
    """
    import numpy as np

    low = part.min(axis=1, keepdims=True)
    scale = (part.max(axis=1, keepdims=True) - low) / np.float32(31)
    scaled = part - low
    scaled *= _inverse(scale)
    scaled += np.float32(0.5)
    levels = np.minimum(scaled.astype(np.uint8), 31)
    out[:, :2], out[:, 2:4] = _halves(scale), _halves(low)
    out[:, 4:8] = np.packbits(levels >> 4, axis=1, bitorder="little")
    levels &= 15
    out[:, 8:] = levels[:, :16] | levels[:, 16:] << 4


# Bytes of a block, and what writes some of them.
_ENCODERS: dict[str, tuple[int, Callable[[Floats, npt.NDArray[np.uint8]], None]]] = {
    "Q8_0": (34, _q8_0),
    "Q5_1": (24, _q5_1),
    "Q4_0": (18, _q4_0),
}
