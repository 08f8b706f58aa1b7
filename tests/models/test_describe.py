"""What is told of a folder or a GGUF file before it is used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoundry.errors import InvalidInput
from phoundry.models import describe
from phoundry.models.catalog import CATALOG, cache_bytes, resolve
from phoundry.models.convert import convert
from phoundry.models.tensors import Weights
from tests.models.conftest import Maker

KEYS = (
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
    "sliding_window",
    "layer_types",
    "tie_word_embeddings",
    "text_config",
    "attention_bias",
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% set first = messages[0].content + '\n\n' if messages[0].role == 'system' "
    "else '' %}{% for m in messages if m.role != 'system' %}<start_of_turn>{{ m.role }}\n"
    "{{ first if loop.first }}{{ m.content }}<end_of_turn>\n{% endfor %}"
)
DEAF = "{% for m in messages if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% endfor %}"
REFUSING = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}<|end|>"


@pytest.mark.parametrize(
    ("template", "form", "system", "tools"),
    [
        (CHATML, "chatml", "own turn", "no"),
        (CHATML + "{% if tools %}{{ tools | tojson }}{% endif %}", "chatml", "own turn", "yes"),
        (
            CHATML + "{% for m in messages %}{{ m['tools'] }}{% endfor %}",
            "chatml",
            "own turn",
            "no",
        ),
        (GEMMA, "gemma", "before the first user message", "no"),
        (DEAF, "mistral", "no: it leaves one out", "no"),
        (REFUSING, "phi3", "no: it refuses one", "no"),
        ("{% for", "own", "no: it refuses one", "no"),
        (
            "{{ messages | map(attribute='content') | join }}",
            "own",
            "before the first user message",
            "no",
        ),
        (None, "", "", ""),
    ],
)
def test_a_template_is_tried_out(template: str | None, form: str, system: str, tools: str) -> None:
    facts = describe.template_facts(template)
    assert facts == {"template": form, "system": system, "tools": tools}


@pytest.mark.parametrize("kind", ["llama", "phi3", "qwen2", "qwen3"])
def test_a_folder_and_its_gguf_are_told_alike(kind: str, tiny: Maker, tmp_path: Path) -> None:
    folder = tiny(kind)
    convert(folder, tmp_path / "tiny.gguf")
    weights = Weights(folder)
    stored = sum(weights.floats(name).size for name in weights.names)
    for path in (folder, tmp_path / "tiny.gguf"):
        found = describe.of_local(resolve(str(path)))
        assert found.view.usable, found.view.obstacle
        assert found.view.architecture == kind
        assert found.view.parameters == stored
        assert found.view.context_length == 128
        assert found.view.template in ("chatml", "phi3")
        assert found.config is not None
        assert found.config["hidden_size"] == 64
    assert "Q8_0" in found.view.notes[0]
    assert found.view.download_bytes == (tmp_path / "tiny.gguf").stat().st_size


def test_a_folder_that_cannot_be_used_says_everything_that_is_missing(
    tiny: Maker, copy: Callable[[Path], Path]
) -> None:
    folder = copy(tiny("llama"))
    (folder / "tokenizer.json").unlink()
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    view = describe.of_local(resolve(str(folder))).view
    assert not view.usable
    assert "holds no tokenizer.json" in (view.obstacle or "")
    assert "pytorch_model.bin" in (view.obstacle or "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"auto_map": {"AutoModel": "x.Y"}}, "auto_map"),
        ({"model_type": "gpt2"}, "'gpt2' is not supported"),
        ({"text_config": {"model_type": "llama"}}, "mixes text with images"),
        ({"hidden_size": None}, "no usable hidden_size"),
        ({"hidden_size": -1, "vocab_size": "x"}, "no usable hidden_size, vocab_size"),
        ({"num_key_value_heads": 0}, "no usable num_key_value_heads"),
        ({"num_hidden_layers": "many"}, "no usable"),
    ],
)
def test_a_config_that_will_not_do_is_told(
    change: dict[str, Any], said: str, tiny: Maker, copy: Callable[[Path], Path]
) -> None:
    folder = copy(tiny("llama"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    view = describe.of_local(resolve(str(folder))).view
    assert not view.usable
    assert said in (view.obstacle or "")


def test_a_folder_whose_config_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InvalidInput, match="no JSON object"):
        describe.of_local(resolve(str(tmp_path)))


def test_a_model_that_nobody_can_count_is_described_all_the_same() -> None:
    found = describe.of_config("x", {"model_type": "gpt2"}, source="hub:x", parameters=124)
    assert (found.view.parameters, found.config, found.view.usable) == (124, None, False)


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_every_entry_is_told_whole(entry: Any) -> None:
    view = describe.of_entry(entry).view
    for name in ("title", "family", "licence", "template", "system", "tools", "tokenizer"):
        assert getattr(view, name), name
    assert view.source in view.sources
    assert f"hub:{entry.hub_id}" in view.sources
    assert view.recommended
    assert view.usable == (view.obstacle is None)


@pytest.fixture(scope="module")
def spoilt(tiny: Maker, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A place for damaged GGUF files, and the bytes of a whole one."""
    folder = tmp_path_factory.mktemp("spoilt")
    convert(tiny("llama"), folder / "whole.gguf")
    return folder / "spoilt.gguf", (folder / "whole.gguf").read_bytes()


@settings(max_examples=200)
@given(
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
)
def test_a_damaged_file_is_described_or_refused(
    cut: float, changes: list[tuple[float, int]], spoilt: tuple[Path, bytes]
) -> None:
    path, whole = spoilt
    content = bytearray(whole if cut > 0.5 else whole[: int(cut * len(whole))])
    for where, value in changes:
        if content:  # the header is where it hurts
            content[int(where * min(len(content) - 1, 4000))] = value
    path.write_bytes(content)
    try:
        found = describe.of_local(resolve(str(path)))
    except InvalidInput:
        return
    assert found.view.usable == (found.view.obstacle is None)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())
)


@given(key=st.sampled_from(KEYS), value=VALUES)
def test_whatever_a_config_says_it_is_described(key: str, value: Any) -> None:
    entry = next(entry for entry in CATALOG if entry.name == "gemma-3-1b-it")
    found = describe.of_config("x", dict(entry.config) | {key: value}, source="hub:x")
    assert found.view.usable == (found.view.obstacle is None)
    if found.config is not None:
        assert found.view.parameters > 0
        assert cache_bytes(found.config, 100) > 0
