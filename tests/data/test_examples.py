from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.data import ChatMessage, ChatTokenizer, Row, fit, render_rows
from phoundry.errors import InvalidInput
from tests.data.chats import chat, chats, steady, supervised, text_of

LONG = chat("Who?", "Bill Gates.", "And?", "Paul Allen.", "When?", "In 1975.")


def test_what_fits_is_left_whole(chatml: ChatTokenizer) -> None:
    whole = chatml.render_example(LONG)
    assert fit(chatml, LONG, len(whole)).example == whole


@pytest.mark.parametrize("style", ["chatml", "phi3"])
def test_whole_trailing_turns_are_dropped(style: str, request: pytest.FixtureRequest) -> None:
    tokenizer: ChatTokenizer = request.getfixturevalue(style)
    lengths = {turns: len(tokenizer.render_example(LONG[: 2 * turns])) for turns in (1, 2, 3)}
    for limit in range(lengths[3] + 2):
        example = fit(tokenizer, LONG, limit).example
        turns = max((n for n, length in lengths.items() if length <= limit), default=0)
        expected = tokenizer.render_example(LONG[: 2 * turns]) if turns else None
        assert example == expected


def test_rows_that_are_cut_or_dropped_are_counted(chatml: ChatTokenizer) -> None:
    limit = len(chatml.render_example(LONG[:4]))
    rows = [Row(messages=m) for m in (LONG, LONG[:2], chat("Who?" * 99, "I."), LONG[:5])]
    result = render_rows(chatml, rows, limit)
    assert (len(result.examples), result.truncated, result.dropped) == (3, 1, 1)
    learnt = [text_of(chatml, supervised(example)) for example in result.examples]
    two = "Bill Gates.<|im_end|>Paul Allen.<|im_end|>"
    assert learnt == [two, "Bill Gates.<|im_end|>", two]
    assert result.tokens == sum(len(example.token_ids) for example in result.examples)
    assert result.supervised_tokens == sum(sum(e.loss_mask) for e in result.examples)


def test_every_row_that_cannot_be_rendered_is_told(chatml: ChatTokenizer) -> None:
    rows = [Row(messages=m) for m in (LONG, chat("Who?"), LONG, LONG[1:2])]
    with pytest.raises(InvalidInput, match="2 of 4 conversations cannot be used") as caught:
        render_rows(chatml, rows, 512, "train.jsonl")
    assert [fault.where for fault in caught.value.faults] == ["train.jsonl:2", "train.jsonl:4"]
    assert all("nothing to learn" in fault.reason for fault in caught.value.faults)


@steady
@given(st.lists(chats(), max_size=4), st.integers(0, 120))
def test_no_row_is_lost_from_count_and_none_is_too_long(
    chatml: ChatTokenizer, conversations: list[list[ChatMessage]], limit: int
) -> None:
    result = render_rows(chatml, [Row(messages=m) for m in conversations], limit)
    assert len(result.examples) + result.dropped == len(conversations)
    assert result.truncated <= len(result.examples)
    for example in result.examples:
        assert len(example) <= limit
        assert any(example.loss_mask)
