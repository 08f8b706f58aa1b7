"""SentencePiece's tokenizers: to GGUF, where llama.cpp cuts as we do, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from phoundry.data import ChatTokenizer
from phoundry.errors import InvalidInput
from phoundry.models.convert import convert
from phoundry.models.from_gguf import write_checkpoint
from phoundry.models.gguf_file import GGUFFile
from phoundry.models.gguf_tokenizer import tokenizer_json
from tests.models.llama import Llama
from tests.models.sentencepiece import give_sentencepiece
from tests.support.checkpoints import build

TEXTS = (
    "Who founded Microsoft?",
    "  two  spaces   three\n\n\nlines",
    "Åtta ½ 🤖 日本",
    "<start_of_turn>user\nHi there<end_of_turn>\n<start_of_turn>assistant\n",
    "<b>bold</b> building permits",
    "",
)


@pytest.fixture(scope="module", params=["gemma3_text", "llama"])
def made(request: pytest.FixtureRequest, tmp_path_factory: Any) -> tuple[Path, Tokenizer]:
    """A checkpoint with such a tokenizer, as GGUF; and the tokenizer."""
    kind: str = request.param
    folder: Path = tmp_path_factory.mktemp(kind)
    build(kind, folder, vocab_size=500, bos_token_id=2, eos_token_id=[1, 5], pad_token_id=0)
    tokenizer = give_sentencepiece(folder, prefixed=kind == "llama")
    convert(folder, folder / "model.gguf", "F32")
    return folder, tokenizer


def test_llama_cpp_cuts_as_the_tokenizer_does(made: tuple[Path, Tokenizer]) -> None:
    folder, tokenizer = made
    llama = Llama(folder / "model.gguf")
    for text in filter(None, TEXTS):
        ids = tokenizer.encode(text).ids
        assert llama.complete(text, 1)["usage"]["prompt_tokens"] == len(ids), text
        # The same tokens, not only as many: a random model answers other ones differently.
        choices = [llama.complete(prompt, 6)["choices"][0]["text"] for prompt in (text, ids)]
        assert choices[0] == choices[1], text


def test_it_comes_back_as_it_was(made: tuple[Path, Tokenizer], tmp_path: Path) -> None:
    folder, tokenizer = made
    write_checkpoint(folder / "model.gguf", tmp_path)
    back = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert back.get_vocab() == tokenizer.get_vocab()
    for text in TEXTS:
        assert back.encode(text).tokens == tokenizer.encode(text).tokens
    messages: Any = [{"role": "user", "content": "What is  a permit?"}]
    ours, theirs = ChatTokenizer.load(tmp_path), ChatTokenizer.load(folder)
    assert ours.render_prompt(messages) == theirs.render_prompt(messages)
    assert ours.end_token_ids == theirs.end_token_ids == (1, 5)


@settings(deadline=None, max_examples=200)
@given(text=st.text(st.sampled_from("abedginolmprstuw ?.\n<>/½日▁"), max_size=40))
def test_any_text_is_cut_the_same(made: tuple[Path, Tokenizer], text: str) -> None:
    folder, tokenizer = made
    back = _back(folder / "model.gguf")
    assert back.encode(text).ids == tokenizer.encode(text).ids


_READ: dict[Path, Tokenizer] = {}


def _back(path: Path) -> Tokenizer:
    if path not in _READ:
        _READ[path] = Tokenizer.from_str(tokenizer_json(GGUFFile(path)))
    return _READ[path]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer.ggml.scores": [-1000.0] * 500}, "say no order"),
        ({"tokenizer.ggml.scores": [0.0]}, "not equally many"),
        ({"general.architecture": "phi3"}, "not written to GGUF whole"),
        ({"tokenizer.ggml.model": "t5"}, "readable are llama, gpt2/gpt-2"),
    ],
)
def test_what_cannot_be_read_back_is_refused(
    change: dict[str, Any], message: str, made: tuple[Path, Tokenizer]
) -> None:
    source = GGUFFile(made[0] / "model.gguf")
    source.metadata |= change
    with pytest.raises(InvalidInput, match=message) as caught:
        tokenizer_json(source)
    assert "Hugging Face checkpoint instead" in str(caught.value)


def test_a_token_beyond_the_rows_is_left_out_and_told(tmp_path: Path) -> None:
    """Gemma 3 without pictures keeps the token for a picture, and has no row for it."""
    build("gemma3_text", tmp_path, vocab_size=500, bos_token_id=2, eos_token_id=1, pad_token_id=0)
    give_sentencepiece(tmp_path, prefixed=False)
    state = json.loads((tmp_path / "tokenizer.json").read_text())
    token = {**state["added_tokens"][0], "id": 500, "content": "<image_soft_token>"}
    state["added_tokens"].append(token)
    (tmp_path / "tokenizer.json").write_text(json.dumps(state))
    (notice,) = convert(tmp_path, tmp_path / "model.gguf")["notices"]
    assert "<image_soft_token>" in notice
    token["special"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(state))
    with pytest.raises(InvalidInput, match="has 501 tokens; the model has rows for 500"):
        convert(tmp_path, tmp_path / "model.gguf")
