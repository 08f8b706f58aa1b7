from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize
from gguf.quants import quantize as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from phoundry.errors import InvalidInput
from phoundry.models.quantize import AT_ONCE, FILE_TYPES, kind_for, quantize
from phoundry.specs.quantization import QUANTIZATIONS

BLOCKED = [GGMLQuantizationType[name] for name in ("Q8_0", "Q5_1", "Q4_0")]
# Nothing so small that one divided by it is infinite: there the references are undefined.
FINITE = st.floats(-60_000, 60_000, width=32).map(lambda value: value if abs(value) > 1e-20 else 0)


def rows(seed: int, shape: tuple[int, int], scale: float = 0.05) -> Any:
    """Like weights, with ties, zeros, a block of one value and outliers among them."""
    generator = np.random.default_rng(seed)
    values = (generator.standard_normal(shape) * scale).astype(np.float32)
    values[0, :32] = 0
    values[1, :32] = -0.25
    values[2, :32] = np.tile([1.0, -1.0], 16)
    values[3, 5] = 900.0
    values[4, :32] = np.round(values[4, :32], 2)
    return values


@pytest.mark.parametrize("kind", BLOCKED)
def test_bytes_are_the_gguf_packages(kind: GGMLQuantizationType) -> None:
    """More values than one stride, whose last one is not full."""
    values = rows(0, (AT_ONCE // 96 + 77, 96))
    np.testing.assert_array_equal(quantize("w", values, kind), reference(values, kind).reshape(-1))


@pytest.mark.parametrize("kind", BLOCKED)
@settings(max_examples=60, deadline=None)
@given(values=arrays.arrays(np.float32, (3, 64), elements=FINITE))
def test_bytes_are_the_gguf_packages_whatever_the_values(
    kind: GGMLQuantizationType, values: Any
) -> None:
    np.testing.assert_array_equal(quantize("w", values, kind), reference(values, kind).reshape(-1))


@pytest.mark.parametrize("kind", BLOCKED)
def test_bytes_are_llama_cpps_own(kind: GGMLQuantizationType) -> None:
    import xllamacpp

    (path,) = Path(xllamacpp.__file__).parent.glob("xllamacpp*.so")
    library = ctypes.CDLL(str(path))
    if not hasattr(library, "ggml_quantize_chunk"):
        pytest.skip("this build of xllamacpp does not offer llama.cpp's quantiser")
    convert = library.ggml_quantize_chunk
    convert.restype = ctypes.c_size_t
    convert.argtypes = [
        ctypes.c_int,
        *[ctypes.c_void_p] * 2,
        *[ctypes.c_int64] * 3,
        ctypes.c_void_p,
    ]
    values = rows(1, (256, 128))
    found = quantize("w", values, kind)
    expected = np.zeros_like(found)
    count = convert(int(kind), values.ctypes.data, expected.ctypes.data, 0, 256, 128, None)
    assert count == found.size
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", BLOCKED)
def test_values_too_small_for_any_scale_become_nothing(kind: GGMLQuantizationType) -> None:
    values = np.full((1, 32), 1e-40, np.float32) * np.arange(32, dtype=np.float32)
    found = dequantize(quantize("w", values, kind).reshape(1, -1), kind)
    np.testing.assert_array_equal(found, np.zeros((1, 32)))


def test_the_matrix_of_the_logits_is_kept_at_a_better_kind() -> None:
    def kind(quantization: str, *, logits: bool) -> str:
        return kind_for((320, 64), quantization, logits=logits).name

    assert [kind(name, logits=True) for name in ("Q4_0", "Q5_1", "Q8_0", "F16")] == [
        "Q8_0",
        "Q8_0",
        "Q8_0",
        "F16",
    ]
    assert kind("Q4_0", logits=False) == "Q4_0"


@pytest.mark.parametrize("quantization", FILE_TYPES)
def test_vectors_stay_exact_and_odd_rows_become_f16(quantization: str) -> None:
    assert kind_for((64,), quantization).name == "F32"
    expected = "F16" if quantization in ("Q8_0", "Q5_1", "Q4_0") else quantization
    assert kind_for((64, 48), quantization).name == expected
    assert kind_for((64, 48), quantization, logits=True).name == expected


def test_every_kind_that_users_may_name_can_be_written() -> None:
    assert set(FILE_TYPES) == set(QUANTIZATIONS)


def test_what_no_file_can_hold_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not finite"):
        quantize("w", np.full((1, 32), np.nan, np.float32), GGMLQuantizationType.Q4_0)
    with pytest.raises(InvalidInput, match="too large for F16"):
        quantize("w", np.full((1, 32), 1e6, np.float32), GGMLQuantizationType.F16)
