"""Values as llama.cpp stores them: F32, F16, BF16, Q8_0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phoundry.errors import InvalidInput
from phoundry.models.tensors import to_bfloat16

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from gguf.constants import GGMLQuantizationType

# general.file_type of a file whose matrices are of this kind (gguf.constants.LlamaFileType).
FILE_TYPES = {"Q8_0": 7, "F16": 1, "BF16": 32, "F32": 0}
_BLOCK = 32
_AT_ONCE = 1 << 20  # values; keeps the temporaries in the processor's cache


def kind_for(shape: tuple[int, ...], quantization: str) -> GGMLQuantizationType:
    """The type of a tensor: vectors stay float32; rows that are no whole blocks become F16."""
    from gguf.constants import GGMLQuantizationType

    if len(shape) < 2:
        return GGMLQuantizationType.F32
    if quantization == "Q8_0" and shape[-1] % _BLOCK:
        return GGMLQuantizationType.F16
    return GGMLQuantizationType[quantization]


def quantize(
    name: str, values: npt.NDArray[np.float32], kind: GGMLQuantizationType
) -> npt.NDArray[Any]:
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
    return _q8_0(flat)


def _q8_0(flat: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """Blocks of 32: a float16 scale `d = max|x| / 127`, then `round(x / d)` as int8.

    The same bytes as the `gguf` package's (halves are rounded away from zero), in larger strides.
    """
    import numpy as np

    out = np.empty((flat.size // _BLOCK, 2 + _BLOCK), np.uint8)
    step = _AT_ONCE // _BLOCK
    blocks = flat.reshape(-1, _BLOCK)
    for start in range(0, len(blocks), step):
        part = blocks[start : start + step]
        scale = np.abs(part).max(axis=1, keepdims=True) / np.float32(127)
        with np.errstate(divide="ignore"):
            inverse = np.where(scale == 0, np.float32(0), np.float32(1) / scale)
        scaled = part * inverse
        whole = np.trunc(scaled)
        whole += np.trunc(2 * (scaled - whole))
        out[start : start + step, :2] = scale.astype(np.float16).view(np.uint8)
        out[start : start + step, 2:] = whole.astype(np.int8).view(np.uint8)
    return out.reshape(-1)
