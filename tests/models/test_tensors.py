from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from phoundry.errors import InvalidInput
from phoundry.models.tensors import (
    SINGLE,
    Planned,
    SafetensorsFile,
    Weights,
    sha256_weights,
    to_bfloat16,
    to_float32,
    write_safetensors,
)


@settings(deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=50))
def test_rounding_to_bfloat16_is_torchs(values: list[float]) -> None:
    array = np.array(values, np.float32)
    ours = torch.frombuffer(bytearray(to_bfloat16(array)), dtype=torch.bfloat16)
    torch.testing.assert_close(
        ours, torch.from_numpy(array).to(torch.bfloat16), rtol=0, atol=0, equal_nan=True
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_reads_what_the_reference_wrote(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.randn(3, 5, generator=torch.Generator().manual_seed(1)).to(dtype)
    save_file({"a": tensor, "b": torch.zeros(0, 4)}, tmp_path / SINGLE)
    file = SafetensorsFile(tmp_path / SINGLE)
    assert torch.equal(torch.from_numpy(file.floats("a")), tensor.float())
    assert file.floats("b").shape == (0, 4)


def test_the_reference_reads_what_was_written(tmp_path: Path) -> None:
    first = np.arange(6, dtype=np.float32).reshape(2, 3)
    second = np.linspace(-1, 1, 4, dtype=np.float32)
    digest = write_safetensors(
        tmp_path / SINGLE,
        [
            Planned("first", "BF16", (2, 3), lambda: to_bfloat16(first)),
            Planned("second", "F32", (4,), second.tobytes),
        ],
    )
    loaded = load_file(tmp_path / SINGLE)
    assert torch.equal(loaded["first"].float(), torch.from_numpy(first))
    assert torch.equal(loaded["second"], torch.from_numpy(second))
    assert sha256_weights(tmp_path) == digest


def test_a_tensor_of_another_size_than_planned_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="planned"):
        write_safetensors(tmp_path / SINGLE, [Planned("a", "F32", (2,), lambda: b"123")])


def test_shards_are_one_set_of_weights(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model-1.safetensors")
    save_file({"b": torch.zeros(2)}, tmp_path / "model-2.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    weights = Weights(tmp_path)
    assert sorted(weights.names) == ["a", "b"]
    assert weights.floats("a").tolist() == [1, 1]
    with pytest.raises(InvalidInput, match="lack the tensor 'c'"):
        weights.floats("c")


@pytest.mark.parametrize("shard", ["../elsewhere.safetensors", "gone.safetensors"])
def test_a_shard_must_be_in_the_folder(tmp_path: Path, shard: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": torch.ones(2)}, tmp_path / "elsewhere.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(InvalidInput, match="not there"):
        Weights(folder)


def test_every_cut_of_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / SINGLE
    save_file({"a": torch.ones(4)}, path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidInput, match="not a safetensors file"):
            SafetensorsFile(path)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=200).filter(lambda noise: not noise.startswith(b"{")))
def test_noise_is_refused(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.safetensors"
    path.write_bytes(len(noise).to_bytes(8, "little") + noise)
    with pytest.raises(InvalidInput, match="not a safetensors file"):
        SafetensorsFile(path)


def test_integers_are_not_weights() -> None:
    with pytest.raises(InvalidInput, match="I64"):
        to_float32(b"12345678", "I64")
