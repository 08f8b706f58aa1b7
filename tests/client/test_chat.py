from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.client import Client
from phoundry.client.chat import EndpointChat, answer_pieces
from phoundry.errors import ModelError, Unauthenticated, Unavailable
from phoundry.specs.endpoint import EndpointSpec
from tests.client.fake_api import KEY, FakeApi

HELLO = [{"role": "user", "content": "Hello?"}]


def event(text: str | None, reason: str | None = None) -> str:
    delta = {} if text is None else {"content": text}
    return "data: " + json.dumps({"choices": [{"delta": delta, "finish_reason": reason}]})


@given(st.lists(st.text(min_size=1)))
def test_the_pieces_are_those_that_were_sent(pieces: list[str]) -> None:
    lines = [line for piece in pieces for line in (event(piece), "", ": comment")]
    assert list(answer_pieces([*lines, event(None, "stop"), "data: [DONE]"])) == pieces


def test_an_error_in_the_middle_of_an_answer_is_told() -> None:
    lines = [event("Hel"), 'data: {"error": {"message": "out of memory"}}']
    with pytest.raises(ModelError, match="out of memory"):
        list(answer_pieces(lines))


def test_an_answer_that_breaks_off_is_no_answer() -> None:
    def broken() -> Iterator[str]:
        yield event("Hel")

    said: list[str] = []
    with pytest.raises(ModelError, match="broke off"):
        for piece in answer_pieces(broken()):
            said.append(piece)
    assert said == ["Hel"]


def test_the_key_is_fetched_and_sent_but_never_shown(client: Client, api: FakeApi) -> None:
    client.endpoints.create(EndpointSpec(name="faq"))
    chat = client.chat("faq/blue")
    assert "".join(chat.stream(HELLO, temperature=0)) == "Hello."
    assert api.chats == [{"model": "faq/blue", "messages": HELLO, "stream": True, "temperature": 0}]
    assert KEY not in repr(chat)


def test_a_wrong_key_is_unauthenticated(client: Client, api: FakeApi) -> None:
    with pytest.raises(Unauthenticated):
        list(EndpointChat(f"{api.url}/v1", "faq", "wrong").stream(HELLO))


def test_no_gateway_says_how_to_start_one() -> None:
    with pytest.raises(Unavailable, match="phoundry up"):
        list(EndpointChat("http://127.0.0.1:9/v1", "faq", "key").stream(HELLO))
