"""Tool calls, their results, offered tools and weights, for templates of the shapes there are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.data import ChatMessage, ChatTokenizer, fit
from phoundry.errors import InvalidInput
from tests.data.chats import chat, contents, steady, supervised, text_of
from tests.data.tool_templates import (
    MISTRAL,
    QWEN3,
    TEMPLATES,
    load_arguments,
    make_tools_tokenizer,
    with_template,
)

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The <b>weather</b> – now & here",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


def calling(arguments: object, result: str = "20", answer: str = "It is 20.") -> list[ChatMessage]:
    call = {"name": "get_weather", "arguments": json.dumps(arguments, ensure_ascii=False)}
    return [
        ChatMessage(role="user", content="How warm?"),
        ChatMessage(
            role="assistant",
            content="",
            tool_calls=[{"id": "abcdefghi", "type": "function", "function": cast("Any", call)}],
        ),
        ChatMessage(role="tool", content=result, tool_call_id="abcdefghi"),
        ChatMessage(role="assistant", content=answer),
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("tools")
    return {style: make_tools_tokenizer(base / style, style) for style in TEMPLATES}


@pytest.fixture(scope="module")
def tokenizers(folders: dict[str, Path]) -> dict[str, ChatTokenizer]:
    return {style: ChatTokenizer.load(folder) for style, folder in folders.items()}


@pytest.fixture(scope="module")
def references(folders: dict[str, Path]) -> dict[str, Any]:
    from transformers import AutoTokenizer

    return {style: AutoTokenizer.from_pretrained(folder) for style, folder in folders.items()}


CONVERSATIONS = {
    "a call": calling({"city": "Paris"}),
    "nested arguments": calling({"city": "é <b>", "days": [1, 2.5, None], "in": {"a": True}}),
    "a call after an exchange": [*chat("Hello?", "Hello!"), *calling({"city": "Rome"})],
    "no call": chat("Who?", "Bill.", "And?", "Paul."),
}


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
@pytest.mark.parametrize("tools", [None, TOOLS], ids=["", "tools"])
@pytest.mark.parametrize("style", TEMPLATES)
def test_text_and_ids_are_those_of_transformers(
    style: str,
    tools: list[dict[str, Any]] | None,
    messages: list[ChatMessage],
    tokenizers: dict[str, ChatTokenizer],
    references: dict[str, Any],
) -> None:
    ours, reference = tokenizers[style], references[style]
    theirs = load_arguments(cast("Any", messages))
    assert ours.render_text(messages, False, tools) == reference.apply_chat_template(
        theirs, tools=tools, tokenize=False
    )
    options = {"tools": tools, "tokenize": True, "return_dict": False}
    for end in range(1, len(messages) + 1):
        assert ours.render_prompt(messages[:end], tools) == reference.apply_chat_template(
            theirs[:end], add_generation_prompt=True, **options
        )
    learnt: list[int] = []
    for part in ours.parts(messages, tools):
        example = ours.render_example(part, tools)
        assert example.token_ids == reference.apply_chat_template(theirs[: len(part)], **options)
        for place, end in zip(_answers(part), example.turn_ends, strict=True):
            if not part[place].get("weight", 1):
                continue
            learnt.append(place)
            prompt = ours.render_prompt(messages[:place], tools)
            assert example.token_ids[: len(prompt)] == prompt
            assert not any(example.loss_mask[len(prompt) - 1 : len(prompt)])
            assert all(example.loss_mask[len(prompt) : end])
            assert example.token_ids[end - 1] == ours.end_token_id
    assert learnt == _answers(messages)


def _answers(messages: Sequence[ChatMessage]) -> list[int]:
    return [i for i, m in enumerate(messages) if m["role"] == "assistant" and i > 0]


def test_what_is_learnt_of_a_call(tokenizers: dict[str, ChatTokenizer]) -> None:
    learnt = {
        style: "".join(
            text_of(tokenizer, supervised(tokenizer.render_example(part)))
            for part in tokenizer.parts(calling({"city": "Paris"}))
        )
        for style, tokenizer in tokenizers.items()
    }
    call = '{"name": "get_weather", "%s": {"city": "Paris"}%s}'
    with_id = call % ("arguments", ', "id": "abcdefghi"')
    assert learnt == {
        # Asked for the call, the model thinks first: the thought goes when the result is there.
        "qwen3": "<think>\n\n</think>\n\n"
        f"<tool_call>\n{call % ('arguments', '')}\n</tool_call><|im_end|>"
        "<think>\n\n</think>\n\nIt is 20.<|im_end|>",
        "llama3": f"{call % ('parameters', '')}<|im_end|>It is 20.<|im_end|>",
        # The token that begins a call is learnt with it.
        "mistral": f"[TOOL_CALLS] [{with_id}]<|im_end|> It is 20.<|im_end|>",
    }


@steady
@given(city=contents, result=contents, answer=contents, tool=contents)
@pytest.mark.parametrize("style", TEMPLATES)
def test_nobody_writes_control_tokens_through_tools(
    tokenizers: dict[str, ChatTokenizer], style: str, city: str, result: str, answer: str, tool: str
) -> None:
    tokenizer = tokenizers[style]

    def count(*texts: str) -> int:
        arguments: object = {"city": texts[0], texts[0]: [texts[0]]}
        offered = {"name": "f", "description": texts[3], "parameters": {texts[3]: texts[3]}}
        tools: list[dict[str, Any]] = [{"type": "function", "function": offered}]
        ids = tokenizer.render_prompt(calling(arguments, texts[1], texts[2]), tools)
        return sum(token in tokenizer.special_ids for token in ids)

    assert count(city, result, answer, tool) == count("a", "b", "c", "d")


@steady
@given(st.lists(st.integers(0, 1), min_size=3, max_size=3).filter(any))
def test_a_turn_of_weight_0_is_there_and_not_learnt(
    chatml: ChatTokenizer, weights: list[int]
) -> None:
    messages = chat("Who?", "Bill.", "And?", "Paul.", "When?", "1975.")
    plain = chatml.render_example(messages)
    for place, weight in zip((1, 3, 5), weights, strict=True):
        messages[place]["weight"] = weight
    example = chatml.render_example(messages)
    assert (example.token_ids, example.turn_ends) == (plain.token_ids, plain.turn_ends)
    said = ("Bill.<|im_end|>", "Paul.<|im_end|>", "1975.<|im_end|>")
    expected = "".join(text for text, weight in zip(said, weights, strict=True) if weight)
    assert text_of(chatml, supervised(example)) == expected


def test_what_is_cut_has_something_to_learn_left(chatml: ChatTokenizer) -> None:
    messages = chat("Who?", "Bill.", "And?", "Paul.", "When?", "1975.")
    messages[1]["weight"] = 0
    ends = chatml.render_example(messages).turn_ends
    cut = fit(chatml, messages, ends[1] + 1).example
    assert cut is not None
    assert text_of(chatml, supervised(cut)) == "Paul.<|im_end|>"
    assert fit(chatml, messages, ends[0] + 1).example is None
    for place in (3, 5):
        messages[place]["weight"] = 0
    with pytest.raises(InvalidInput, match="nothing to learn"):
        chatml.render_example(messages)


def test_turns_that_a_template_rewrites_may_have_the_weight_0(
    tokenizers: dict[str, ChatTokenizer],
) -> None:
    messages = chat("Who?", "<think>\nHm.\n</think>\n\nBill.", "And?", "Paul.")
    tokenizer = tokenizers["qwen3"]
    with pytest.raises(
        InvalidInput, match=r"does not write messages\[1\].*changes earlier"
    ) as told:
        tokenizer.render_example(messages)
    assert "weight 0" in str(told.value)
    messages[1]["weight"] = 0
    example = tokenizer.render_example(messages)
    assert "Hm." not in text_of(tokenizer, example.token_ids)
    learnt = text_of(tokenizer, supervised(example))
    assert learnt == "<think>\n\n</think>\n\nPaul.<|im_end|>"


def test_a_template_without_a_place_for_calls_refuses_them(chatml: ChatTokenizer) -> None:
    for render in (chatml.render_example, chatml.render_prompt):
        with pytest.raises(InvalidInput, match="has tool calls, and the chat template of chatml"):
            render(calling({"city": "Paris"}))


def test_a_template_without_a_place_for_results_refuses_them(phi3: ChatTokenizer) -> None:
    messages = [*chat("Who?"), ChatMessage(role="tool", content="Bill"), *chat("", "Bill.")[1:]]
    with pytest.raises(InvalidInput, match="has tool results, and the chat template of phi3"):
        phi3.render_example(messages)


def test_what_a_template_leaves_out_is_known(
    chatml: ChatTokenizer, tokenizers: dict[str, ChatTokenizer], folders: dict[str, Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    system = chat("Who?", "I.", system="Be brief.")
    assert chatml.unseen(calling({}), TOOLS) == ["tools", "tool calls"]
    assert chatml.unseen(system) == []
    assert tokenizers["mistral"].unseen(system) == ["system messages"]
    for style in ("qwen3", "llama3"):
        assert tokenizers[style].unseen([*system, *calling({})], TOOLS) == []
    # A template that only names what it calls has no place for the arguments.
    named = QWEN3.replace("else arguments | tojson", "else '{}'")
    half = ChatTokenizer.load(with_template(folders["qwen3"], named, tmp_path / "half"))
    assert half.unseen(calling({"city": "Paris"})) == ["tool calls"]


def test_what_the_template_says_of_a_call_is_told(
    tokenizers: dict[str, ChatTokenizer],
) -> None:
    messages = calling({"city": "Paris"})
    messages[1].get("tool_calls", [])[0]["id"] = "short"
    assert "length != 9" in MISTRAL
    with pytest.raises(InvalidInput, match="Tool call IDs have length 9!"):
        tokenizers["mistral"].render_example(messages)
    messages[1].get("tool_calls", [])[0]["function"]["arguments"] = "{nonsense"
    with pytest.raises(InvalidInput, match="arguments of the call of 'get_weather' are not JSON"):
        tokenizers["qwen3"].render_example(messages)
