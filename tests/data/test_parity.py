"""The same ids as `apply_chat_template` of `transformers` makes, for three kinds of tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given

from phoundry.data import ChatMessage, ChatTokenizer
from tests.data.chats import chat, chats, steady, supervised, text_of, without_control_text
from tests.support.tiny_tokenizer import TEXT

LLAMA_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] + ' [/INST]' }}{% elif m['role'] == 'system' %}"
    "{{ '<<SYS>>' + m['content'] + '<</SYS>>' }}{% else %}"
    "{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer like Llama 2's and Phi-3's: "▁" for spaces and one before each stretch of text,
    bytes for unknown characters; its template has words, not tokens, around a question."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    folder = tmp_path_factory.mktemp("tokenizers") / "llama"
    folder.mkdir()
    special = ["<unk>", "<s>", "</s>"]
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    # As in the real ones, no token reaches over the beginning of a word.
    made.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=special + [f"<0x{byte:02X}>" for byte in range(256)],
        show_progress=False,
    )
    made.train_from_iterator([*TEXT, "[INST] [/INST] <<SYS>> <</SYS>>"], trainer)
    content = json.loads(made.to_str()) | {"pre_tokenizer": None}
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] in special]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "chat_template.jinja").write_text(LLAMA_TEMPLATE)
    config = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    config |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session", params=["chatml", "phi3", "llama"])
def pair(request: pytest.FixtureRequest) -> tuple[ChatTokenizer, Any]:
    """Ours and theirs of the same folder."""
    from transformers import AutoTokenizer

    folder: Path = request.getfixturevalue(f"{request.param}_folder")
    reference = cast("Any", AutoTokenizer.from_pretrained(folder))
    return ChatTokenizer.load(folder), reference


def theirs(reference: Any, messages: list[ChatMessage], generation_prompt: bool) -> list[int]:
    return reference.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=generation_prompt, return_dict=False
    )


@steady
@given(chats())
def test_prompts_and_examples(pair: tuple[ChatTokenizer, Any], messages: list[ChatMessage]) -> None:
    ours, reference = pair
    messages = without_control_text(messages)
    assert ours.render_prompt(messages) == theirs(reference, messages, True)
    assert ours.render_example(messages).token_ids == theirs(reference, messages, False)
    assert ours.render_text(messages, True) == reference.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )


def test_an_answer_among_words_is_learnt_alone(llama_folder: Path) -> None:
    tokenizer = ChatTokenizer.load(llama_folder)
    example = tokenizer.render_example(chat("Who founded Microsoft?", "Bill </s> Gates", "é", "b"))
    learnt = supervised(example)
    assert [token for token in learnt if token in tokenizer.special_ids] == [2, 2]
    assert text_of(tokenizer, learnt) == "Bill </s> Gates </s> b </s>"
    assert example.token_ids.count(1) == 1
