from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.errors import PhoundryError
from phoundry.flows.model import FlowInput
from phoundry.serving.flow.asked import accepted, read_inputs

ONE = {"text": FlowInput("string")}
TWO = {"text": FlowInput("string"), "times": FlowInput("int", default=2)}


@pytest.mark.parametrize(
    ("accept", "found"),
    [
        (None, (False, True)),
        ("*/*", (False, True)),
        ("application/json", (False, True)),
        ("text/event-stream", (True, False)),
        ("Text/Event-Stream;q=0.9, application/*;q=0.1", (True, True)),
        ("text/event-stream;q=0, */*", (False, True)),
        ("text/*", (False, False)),
        ("text/html", (False, False)),
    ],
)
def test_accepted(accept: str | None, found: tuple[bool, bool]) -> None:
    assert accepted(accept.encode() if accept is not None else None) == found


@given(st.binary(max_size=60))
def test_any_bytes_give_inputs_or_a_refusal(body: bytes) -> None:
    for inputs in (ONE, TWO, {}):
        try:
            found = read_inputs(body, inputs)
        except PhoundryError as error:
            assert error.status == 400
        else:
            assert isinstance(found, dict)


@given(st.text())
def test_text_that_is_no_json_is_the_only_input(text: str) -> None:
    try:
        json.loads(text)
    except ValueError:
        encoded = text.encode("utf-8", "surrogatepass")
        try:
            encoded.decode()
        except UnicodeDecodeError:
            return
        assert read_inputs(encoded, ONE) == {"text": text}


def test_deep_nesting_is_text() -> None:
    deep = "[" * 100_000
    assert read_inputs(deep.encode(), ONE) == {"text": deep}


def test_a_refusal_shows_the_beginning_of_what_was_sent() -> None:
    with pytest.raises(PhoundryError, match=r"\['text'\] are missing") as caught:
        read_inputs(json.dumps({"other": "x" * 10_000}).encode(), ONE)
    assert len(caught.value.message) < 1_200


def test_what_the_code_has_a_default_for_may_be_left_out() -> None:
    inputs = ONE | {"chat_history": FlowInput("list", is_chat_history=True, optional=True)}
    assert read_inputs(b'{"text": "x"}', inputs) == {"text": "x"}
