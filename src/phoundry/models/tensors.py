"""Weights on disk: safetensors read and written one tensor at a time, with numpy alone.

torch takes three seconds to import and a model takes twice its size to build. Copying, merging and
converting weights needs neither: the format is a JSON header and flat bytes
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.errors import InvalidInput
from phoundry.files import read_json, sha256_files

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]

MAX_HEADER = 100_000_000  # bytes; the limit of the reference implementation
_AT_ONCE = 1 << 18  # values; keeps temporaries in the processor's cache
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file: `start` and `stop` are byte positions in that file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class SafetensorsFile:
    """One mapped file. Nothing is copied until a tensor is asked for.

    Raises:
        InvalidInput: the file is cut short, or its header is not what the format allows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little") if size >= 8 else MAX_HEADER + 1
            if length > min(MAX_HEADER, size - 8):
                raise self._broken("its header is longer than the file")
            header = self._header(file.read(length))
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        header.pop("__metadata__", None)
        self.tensors = {
            name: self._info(name, entry, 8 + length, size) for name, entry in header.items()
        }

    def raw(self, name: str) -> memoryview:
        """The bytes of tensor `name` as they lie in the file."""
        info = self.tensors[name]
        return memoryview(self._map)[info.start : info.stop]

    def floats(self, name: str) -> Array:
        """Tensor `name` as float32 of its own shape (exact for F32, F16 and BF16)."""
        info = self.tensors[name]
        return to_float32(self.raw(name), info.dtype).reshape(info.shape)

    def _header(self, text: bytes) -> dict[str, Any]:
        try:
            header: Any = json.loads(text)
        except ValueError as error:
            raise self._broken(f"its header is not JSON ({error})") from None
        if not isinstance(header, dict):
            raise self._broken("its header is not an object")
        return header  # pyright: ignore[reportUnknownVariableType]

    def _info(self, name: str, entry: Any, base: int, size: int) -> TensorInfo:
        try:
            dtype, shape = str(entry["dtype"]), tuple(int(side) for side in entry["shape"])
            start, stop = (base + int(offset) for offset in entry["data_offsets"])
        except (KeyError, TypeError, ValueError):
            raise self._broken(f"the entry of '{name}' is not complete") from None
        expected = math.prod(shape) * _BYTES.get(dtype, 0)
        if dtype not in _BYTES or min(shape, default=0) < 0:
            raise self._broken(f"'{name}' has the type {dtype} {shape}, which is not supported")
        if not base <= start <= stop <= size or stop - start != expected:
            raise self._broken(f"the bytes of '{name}' are not where the header says")
        return TensorInfo(name, dtype, shape, start, stop)

    def _broken(self, reason: str) -> InvalidInput:
        return InvalidInput(
            f"{self.path} is not a safetensors file: {reason}.",
            remedy="Download or write the file again.",
        )


class Weights:
    """All weights of a Hugging Face folder, in one file or in shards.

    Raises:
        InvalidInput: no safetensors, a missing shard, or a shard outside the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = [SafetensorsFile(path) for path in weight_files(folder)]
        self._home = {name: file for file in self.files for name in file.tensors}

    @property
    def names(self) -> list[str]:
        return list(self._home)

    def __contains__(self, name: str) -> bool:
        return name in self._home

    def info(self, name: str) -> TensorInfo:
        return self._home[name].tensors[name]

    def raw(self, name: str) -> memoryview:
        return self._home[name].raw(name)

    def floats(self, name: str) -> Array:
        """Tensor `name` as float32; raises InvalidInput where the folder lacks it."""
        if name not in self._home:
            raise InvalidInput(f"The weights in {self.folder} lack the tensor '{name}'.")
        return self._home[name].floats(name)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a Hugging Face folder, in the order of their names."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    index = read_json(folder / INDEX)
    if not isinstance(index, dict):
        raise InvalidInput(
            f"{folder} holds no {SINGLE} and no {INDEX}.",
            remedy="Phoundry reads weights from safetensors only.",
        )
    names = sorted({str(name) for name in index.get("weight_map", {}).values()})  # type: ignore[union-attr]
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise InvalidInput(f"{folder / INDEX} names the file '{name}', which is not there.")
    return [folder / name for name in names]


def sha256_weights(folder: Path) -> str:
    """SHA-256 over the weight files of a folder, in the order of their names."""
    return sha256_files(weight_files(folder))


@dataclass(frozen=True, slots=True)
class Planned:
    """A tensor to be written: `make` is called when its turn comes and gives its bytes."""

    name: str
    dtype: str
    shape: Sequence[int]
    make: Callable[[], bytes | memoryview]


def write_safetensors(path: Path, tensors: Iterable[Planned]) -> str:
    """Write `tensors` one after the other and return the file's SHA-256.

    Only one tensor is in memory at a time. The caller makes the write atomic (`atomic_folder`).
    """
    plan = list(tensors)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for tensor in plan:
        size = math.prod(tensor.shape) * _BYTES[tensor.dtype]
        offsets = [position, position + size]
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": offsets,
        }
        position += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in (len(text).to_bytes(8, "little"), text):
            digest.update(part)
            file.write(part)
        for tensor in plan:
            data = tensor.make()
            start, stop = header[tensor.name]["data_offsets"]
            if len(data) != stop - start:
                raise ValueError(f"{tensor.name}: {len(data)} bytes made, {stop - start} planned")
            digest.update(data)
            file.write(data)
    return digest.hexdigest()


def to_float32(data: memoryview | bytes, dtype: str) -> Array:
    """Flat float32 values of F32, F16 or BF16 bytes. Raises InvalidInput for other types."""
    import numpy as np

    if dtype == "BF16":
        # bfloat16 is the upper half of a float32.
        bits = np.frombuffer(data, np.uint16).astype(np.uint32)
        bits <<= 16  # in place: an embedding of 128,000 rows takes gigabytes
        return bits.view(np.float32)
    kinds: dict[str, Any] = {"F32": np.float32, "F16": np.float16, "F64": np.float64}
    if dtype not in kinds:
        raise InvalidInput(f"Weights of the type {dtype} cannot be used as floats.")
    return np.frombuffer(data, kinds[dtype]).astype(np.float32)


def to_bfloat16(values: npt.NDArray[np.float32]) -> memoryview:
    """Bytes of `values` rounded to the nearest bfloat16, ties to even; NaN stays NaN."""
    import numpy as np

    flat = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    rounded = np.empty(flat.size, np.uint16)
    for start in range(0, flat.size, _AT_ONCE):
        part = flat[start : start + _AT_ONCE]
        bits = part.view(np.uint32)
        work = bits >> 16
        work &= 1
        work += 0x7FFF
        work += bits
        work >>= 16
        nan = np.isnan(part)
        if nan.any():
            work[nan] = 0x7FC0
        rounded[start : start + _AT_ONCE] = work
    return rounded.data.cast("B")


def from_float32(values: npt.NDArray[np.float32], dtype: str) -> memoryview:
    """Bytes of `values` as F32, F16 or BF16, each rounded to the nearest."""
    import numpy as np

    if dtype == "BF16":
        return to_bfloat16(values)
    kinds: dict[str, Any] = {"F32": np.float32, "F16": np.float16}
    if dtype not in kinds:
        raise InvalidInput(f"Weights of the type {dtype} cannot be changed.")
    return np.ascontiguousarray(values, dtype=kinds[dtype]).data.cast("B")
