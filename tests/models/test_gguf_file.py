from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize
from gguf.quants import quantize as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from phoundry.errors import InvalidInput
from phoundry.models.convert import convert
from phoundry.models.gguf_file import GGUFFile
from phoundry.models.quantize import FILE_TYPES, kind_for, quantize
from tests.models.conftest import Maker


@pytest.fixture(scope="module")
def file(tiny: Maker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    convert(tiny("phi3"), path)
    return path


def test_everything_is_read_as_the_gguf_package_reads_it(file: Path) -> None:
    ours, theirs = GGUFFile(file), GGUFReader(file)
    fields = {name: field for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
    assert ours.metadata.keys() == fields.keys()
    for name, field in fields.items():
        assert ours.metadata[name] == field.contents(), name
    assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
    for tensor in theirs.tensors:
        expected = dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(ours.floats(tensor.name), expected)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "BF16"])
def test_quantised_tensors_of_others_are_read(kind: str, tmp_path: Path) -> None:
    quantised = GGMLQuantizationType[kind]
    values = np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32)
    data = reference(values, quantised)
    writer = GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_tensor("w", data, raw_dtype=quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = GGUFFile(tmp_path / "model.gguf").floats("w")
    np.testing.assert_array_equal(found, dequantize(data, quantised))


def test_every_cut_is_refused(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    header = min(tensor.start for tensor in GGUFFile(file).tensors.values())
    path = tmp_path / "cut.gguf"
    for length in [*range(0, 200, 3), *range(200, header - 64, 1999)]:
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidInput):
            GGUFFile(path)
    path.write_bytes(whole[:-100])
    cut = GGUFFile(path)
    with pytest.raises(InvalidInput, match="reaches past its end"):
        cut.floats(max(cut.tensors.values(), key=lambda tensor: tensor.start).name)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=300), st.integers(0, 2**64 - 1))
def test_noise_is_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, count: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, count | 1 << 40, count) + noise)
    with pytest.raises(InvalidInput):
        GGUFFile(path)


def test_another_file_or_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGML" + bytes(40))
    with pytest.raises(InvalidInput, match="does not begin with"):
        GGUFFile(path)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 1, 0, 0))
    with pytest.raises(InvalidInput, match="version 1"):
        GGUFFile(path)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e4), st.integers(1, 40))
def test_quantising_gives_the_gguf_packages_bytes(seed: int, size: float, blocks: int) -> None:
    values = np.random.default_rng(seed).normal(size=(blocks, 32)).astype(np.float32)
    values[0] = 0
    values *= np.float32(size)
    kinds: list[Any] = [GGMLQuantizationType[name] for name in FILE_TYPES]
    for kind in kinds:
        expected = reference(values, kind)
        found = quantize("w", values, kind)
        assert found.tobytes() == expected.tobytes(), kind.name


def test_rows_that_are_no_whole_blocks_become_f16() -> None:
    assert kind_for((8, 33), "Q8_0").name == "F16"
    assert kind_for((8, 64), "Q8_0").name == "Q8_0"
    assert kind_for((64,), "Q8_0").name == "F32"


def test_what_f16_cannot_hold_is_refused() -> None:
    with pytest.raises(InvalidInput, match="too large for F16"):
        quantize("w", np.full((2, 2), 1e6, np.float32), GGMLQuantizationType.F16)
