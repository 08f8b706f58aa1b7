"""Templates that rewrite earlier turns: each answer is learnt once, as it will be asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.data import ChatMessage, ChatTokenizer, Row, fit, render_rows
from phoundry.data.steadiness import THOUGHTS, kind_of
from phoundry.data.tokens import prepare
from phoundry.errors import InvalidInput
from tests.data.chats import chat, chats, steady, supervised, text_of
from tests.data.test_tokenizer import with_template
from tests.data.tool_templates import make_tools_tokenizer

# Mistral Nemo's: the system message goes into the last question, and only while it is the last.
MOVING = (
    "{% set rest = messages[1:] if messages[0].role == 'system' else messages %}"
    "{% for m in rest %}{% if m.role == 'user' %}<|im_start|>"
    "{% if loop.last and messages[0].role == 'system' %}"
    "{{ messages[0].content + '\n\n' }}{% endif %}"
    "{{ m.content }}<|im_start|>{% else %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
)
# Of all but the last two messages the text goes.
FORGETFUL = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if loop.index0 >= messages | length - 2 %}{{ m.content }}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    return ChatTokenizer.load(make_tools_tokenizer(tmp_path_factory.mktemp("qwen3") / "q", "qwen3"))


def learnt(tokenizer: ChatTokenizer, messages: list[ChatMessage]) -> list[tuple[str, str]]:
    """For each part: all of its text, and the text that is learnt."""
    examples = [tokenizer.render_example(part) for part in tokenizer.parts(messages)]
    return [
        (text_of(tokenizer, example.token_ids), text_of(tokenizer, supervised(example)))
        for example in examples
    ]


def test_every_answer_is_learnt_with_the_thought_that_is_then_taken_out(
    qwen3: ChatTokenizer,
) -> None:
    assert learnt(qwen3, chat("Who?", "Bill.", "And?", "Paul.")) == [
        (
            "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n"
            "<think>\n\n</think>\n\nBill.<|im_end|>\n",
            "<think>\n\n</think>\n\nBill.<|im_end|>",
        ),
        (
            "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\nBill.<|im_end|>\n"
            "<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n"
            "<think>\n\n</think>\n\nPaul.<|im_end|>\n",
            "<think>\n\n</think>\n\nPaul.<|im_end|>",
        ),
    ]


def test_a_steady_template_leaves_a_conversation_whole(chatml: ChatTokenizer) -> None:
    messages = chat("Who?", "Bill.", "And?", "Paul.", "Why?")
    assert chatml.parts(messages) == [messages]


@steady
@given(chats(), st.data())
def test_every_answer_is_learnt_once_after_the_ids_of_its_prompt(
    qwen3: ChatTokenizer, messages: list[ChatMessage], data: st.DataObject
) -> None:
    messages = [
        message if message["role"] != "assistant" else {**message, "weight": data.draw(weights)}
        for message in messages
    ]
    places = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
    wanted = [i for i in places if messages[i].get("weight")]
    found: list[int] = []
    for part in qwen3.parts(messages):
        if not wanted:
            assert part is messages
            break
        example = qwen3.render_example(part)
        for place, end in zip(places, example.turn_ends, strict=False):
            if part[place].get("weight"):
                found.append(place)
                prompt = qwen3.render_prompt(messages[:place])
                assert example.token_ids[: len(prompt)] == prompt
                assert example.loss_mask[len(prompt) : end] == [True] * (end - len(prompt))
        assert sum(example.loss_mask) == sum(
            end - len(qwen3.render_prompt(messages[:place]))
            for place, end in zip(places, example.turn_ends, strict=False)
            if part[place].get("weight")
        )
    assert found == wanted


weights = st.integers(0, 1)


def test_a_system_message_that_moves_is_in_every_prompt(
    chatml_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagged = MOVING.replace(
        "{{ m.content }}<|im_end|>", "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    )
    monkeypatch.setattr("phoundry.data.template.training_template", lambda _: tagged)
    tokenizer = with_template(chatml_folder, MOVING, tmp_path)
    messages = chat("Who?", "Bill.", "And?", "Paul.", system="Be brief.")
    assert learnt(tokenizer, messages) == [
        ("<|im_start|>Be brief.\n\nWho?<|im_start|>Bill.<|im_end|>", "Bill.<|im_end|>"),
        (
            "<|im_start|>Who?<|im_start|>Bill.<|im_end|>"
            "<|im_start|>Be brief.\n\nAnd?<|im_start|>Paul.<|im_end|>",
            "Paul.<|im_end|>",
        ),
    ]
    # Without a system message nothing moves.
    assert len(tokenizer.parts(messages[1:])) == 1


def test_without_tags_a_prompt_that_its_answer_changes_is_refused(
    chatml_folder: Path, tmp_path: Path
) -> None:
    tokenizer = with_template(chatml_folder, MOVING, tmp_path)
    messages = chat("Who?", "Bill.", system="Be brief.")
    with pytest.raises(InvalidInput, match=r"does not write messages\[2\]"):
        tokenizer.render_example(messages)


def test_rows_become_as_many_examples_as_it_takes(qwen3: ChatTokenizer) -> None:
    rows = [Row(messages=chat("a?", "b", "c?", "d", "e?", "f")), Row(messages=chat("a?", "b"))]
    made = render_rows(qwen3, rows, 1000)
    assert len(made.examples) == 4
    assert (made.truncated, made.dropped) == (0, 0)
    # What is too long for its last part is truncated; what fits nowhere is dropped.
    longest = max(len(example) for example in made.examples)
    assert render_rows(qwen3, rows, longest - 1).truncated == 1
    assert render_rows(qwen3, rows, 3).dropped == 2
    assert fit(qwen3, rows[1]["messages"], 1000).example == made.examples[3]


def test_who_trains_or_looks_is_told_that_rows_are_learnt_in_parts(
    qwen3: ChatTokenizer, chatml_folder: Path, tmp_path: Path
) -> None:
    path, made = tmp_path / "faq.jsonl", tmp_path / "made"
    rows = [chat("Who?", "Bill."), chat("Who?", "Bill.", "And?", "Paul.")]
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    found = prepare(path, make_tools_tokenizer(tmp_path / "q", "qwen3"), made, max_tokens=1000)
    (notice,) = found.notices
    assert (found.rows, len(found)) == (2, 3)
    assert notice.startswith("2 conversations are learnt as 3 examples: the chat template of q ")
    assert prepare(path, chatml_folder, made, max_tokens=1000).notices == []


@pytest.mark.parametrize(("begin", "end"), THOUGHTS)
def test_a_template_that_only_drops_thoughts_is_steady_without_them(
    chatml_folder: Path, tmp_path: Path, begin: str, end: str
) -> None:
    source = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        f"{{{{ m.content if loop.last else m.content.split('{end}')[-1] }}}}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer = with_template(chatml_folder, source, tmp_path)
    plain = chat("Who?", "Bill.", "And?", "Paul.")
    assert len(tokenizer.parts(plain)) == 1
    thinking = chat("Who?", f"{begin}Hm.{end}Bill.", "And?", "Paul.")
    assert kind_of(thinking, None) != kind_of(plain, None)
    assert [said for _, said in learnt(tokenizer, thinking)] == [
        f"{begin}Hm.{end}Bill.<|im_end|>",
        "Paul.<|im_end|>",
    ]


def test_a_question_that_changes_when_it_is_answered_is_refused(
    chatml_folder: Path, tmp_path: Path
) -> None:
    tokenizer = with_template(chatml_folder, FORGETFUL, tmp_path)
    with pytest.raises(InvalidInput, match=r"does not write messages\[3\]"):
        tokenizer.parts(chat("Who?", "Bill.", "And?", "Paul."))
