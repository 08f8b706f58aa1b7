from __future__ import annotations

import numpy as np
import pytest
from gguf import MODEL_ARCH, get_tensor_name_map
from hypothesis import given, settings
from hypothesis import strategies as st

from phoundry.errors import InvalidInput
from phoundry.models.architectures import ARCHITECTURES, architecture, permute, unpermute

OUTER = ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_names_are_those_of_the_gguf_package(name: str) -> None:
    kind = architecture(name)
    reference = get_tensor_name_map(MODEL_ARCH[kind.gguf.upper()], 12)
    for ours in [*OUTER, *(f"model.layers.11.{part}" for part in kind.layer)]:
        theirs = reference.get_name(ours, try_suffixes=(".weight", ".bias"))
        assert kind.gguf_name(ours) == theirs
        assert theirs is not None
        assert kind.hf_name(theirs) == ours


def test_unknown_names_have_no_counterpart() -> None:
    kind = architecture("phi3")
    assert kind.gguf_name("model.layers.0.self_attn.q_proj.weight") is None
    assert kind.hf_name("blk.0.attn_q.weight") is None
    with pytest.raises(InvalidInput, match="LlamaForCausalLM"):
        architecture("mamba")


@settings(deadline=None)
@given(
    heads=st.integers(1, 5),
    half=st.integers(1, 4),
    columns=st.integers(1, 3),
)
def test_permuting_is_undone_and_pairs_the_halves(heads: int, half: int, columns: int) -> None:
    size = heads * 2 * half
    weight = np.arange(size * columns).reshape(size, columns)
    moved = permute(weight, heads)
    assert np.array_equal(unpermute(moved, heads), weight)
    # Row 0 and the first row of the second half become neighbours.
    assert np.array_equal(moved[1], weight[half])
