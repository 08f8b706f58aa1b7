"""The three ways of a conversation that is too long."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.data import ChatMessage, ChatTokenizer, Fitted, Row, fit, render_rows
from phoundry.data.fitting import TooLong
from phoundry.errors import InvalidInput
from phoundry.specs.finetune import Truncation
from tests.data.chats import chat, chats, steady, supervised, text_of

LONG = chat("Who?", "Bill Gates.", "And?", "Paul Allen.", "When?", "In 1975.")
limits = st.integers(0, 120)


@pytest.mark.parametrize("truncation", get_args(Truncation))
def test_what_fits_is_left_whole(chatml: ChatTokenizer, truncation: Truncation) -> None:
    whole = chatml.render_example(LONG)
    assert fit(chatml, LONG, len(whole), None, truncation) == Fitted(whole, len(whole))


def test_truncate_keeps_the_first_tokens_and_their_mask(chatml: ChatTokenizer) -> None:
    whole = chatml.render_example(LONG)
    limit = whole.turn_ends[1] - 2  # in the middle of the second answer
    fitted = fit(chatml, LONG, limit, truncation="truncate")
    assert fitted.example is not None
    assert fitted.example.token_ids == whole.token_ids[:limit]
    assert fitted.example.loss_mask == whole.loss_mask[:limit]
    assert fitted.example.turn_ends == whole.turn_ends[:1]
    assert (fitted.tokens, fitted.cut, fitted.shortened) == (len(whole), len(whole) - limit, True)
    assert text_of(chatml, supervised(fitted.example)).startswith("Bill Gates.<|im_end|>Pau")


def test_truncate_drops_what_has_nothing_to_learn_left(chatml: ChatTokenizer) -> None:
    whole = chatml.render_example(LONG)
    first = whole.loss_mask.index(True)
    assert fit(chatml, LONG, first, truncation="truncate") == Fitted(None, len(whole))
    kept = fit(chatml, LONG, first + 1, truncation="truncate")
    assert kept.example is not None
    assert sum(kept.example.loss_mask) == 1


def test_an_error_says_how_long_it_is_and_what_can_be_done(chatml: ChatTokenizer) -> None:
    size = len(chatml.render_example(LONG))
    with pytest.raises(TooLong, match=f"^{size} tokens, and at most {size - 1} are taken") as told:
        fit(chatml, LONG, size - 1, truncation="error")
    assert "truncation=drop_turns" in str(told.value.remedy)


def test_all_that_are_too_long_are_refused_together_with_other_faults(
    chatml: ChatTokenizer,
) -> None:
    rows = [Row(messages=m) for m in (LONG, chat("Who?", "I."), chat("Who?"), LONG)]
    with pytest.raises(InvalidInput, match="3 of 4 conversations cannot be used") as told:
        render_rows(chatml, rows, 20, truncation="error")
    assert [fault.where for fault in told.value.faults] == ["row:1", "row:3", "row:4"]
    assert "nothing to learn" in told.value.faults[1].reason
    assert "at most 20" in told.value.faults[2].reason


@steady
@given(chats(), limits)
def test_drop_turns_ends_where_a_turn_ends(
    chatml: ChatTokenizer, messages: list[ChatMessage], limit: int
) -> None:
    fitted = fit(chatml, messages, limit)
    whole = chatml.render_example(messages)
    assert fitted.tokens == len(whole)
    places = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    beginnings = [chatml.render_example(messages[: place + 1]) for place in places]
    # The longest beginning that fits and ends with an answer (or all of it) is taken.
    fitting = [each for each in [*beginnings, whole] if len(each) <= limit]
    assert fitted.example == (fitting[-1] if fitting else None)
    if (example := fitted.example) is not None:
        turns = len(example.turn_ends)
        assert example.turn_ends == whole.turn_ends[:turns]
        assert len(example.loss_mask) == len(example)
        assert fitted.shortened == (turns < len(whole.turn_ends))


@steady
@given(chats(), limits)
def test_truncate_is_a_beginning_with_its_mask(
    chatml: ChatTokenizer, messages: list[ChatMessage], limit: int
) -> None:
    whole = chatml.render_example(messages)
    fitted = fit(chatml, messages, limit, truncation="truncate")
    if (example := fitted.example) is None:
        assert not any(whole.loss_mask[:limit])
        assert fitted.cut == len(whole)
        return
    assert len(example) == min(limit, len(whole))
    assert example.token_ids == whole.token_ids[: len(example)]
    assert example.loss_mask == whole.loss_mask[: len(example)]
    assert any(example.loss_mask)
    assert fitted.shortened == (fitted.cut > 0) == (len(whole) > limit)


@steady
@given(st.lists(chats(), max_size=4), limits, st.sampled_from(["drop_turns", "truncate"]))
def test_every_row_and_token_is_accounted_for(
    chatml: ChatTokenizer,
    conversations: list[list[ChatMessage]],
    limit: int,
    truncation: Truncation,
) -> None:
    rows = [Row(messages=messages) for messages in conversations]
    result = render_rows(chatml, rows, limit, truncation=truncation)
    assert len(result.examples) + result.dropped == len(rows)
    assert result.tokens + result.cut == render_rows(chatml, rows, 10_000).tokens
    assert all(len(example) <= limit for example in result.examples)
    assert result.truncated <= len(result.examples)
