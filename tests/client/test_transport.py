from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.client import Client
from phoundry.client.transport import error_of, segment
from phoundry.errors import (
    InvalidInput,
    MissingDependency,
    NotFound,
    PhoundryError,
    Unauthenticated,
    Unavailable,
    UsageError,
    tree,
)
from phoundry.server.launch import ServerInfo
from phoundry.settings import Home
from tests.client.fake_api import TOKEN, FakeApi, serve


def chat(number: int) -> dict[str, Any]:
    asked, said = f"hi {number}", f"ho {number}"
    return {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    }


def write_rows(home: Home, count: int = 5) -> Any:
    home.root.mkdir(parents=True, exist_ok=True)
    file = home.root / "chats.jsonl"
    file.write_text("\n".join(json.dumps(chat(number)) for number in range(count)) + "\n")
    return file


def test_with_no_control_plane_the_services_answer_in_this_process(
    home: Home, here: Client
) -> None:
    asset = here.data.create("faq", write_rows(home), test_size=0.4, seed=7)
    assert (asset.train.rows, asset.test and asset.test.rows) == (3, 2)
    assert here.data.show("faq:1").sha256 == asset.sha256
    assert not here.status().running


def test_errors_come_back_as_their_own_class_with_all_faults(home: Home, here: Client) -> None:
    with pytest.raises(NotFound, match="nothing"):
        here.data.show("nothing")
    file = write_rows(home)
    file.write_text('{"messages": []}\nnot json\n')
    with pytest.raises(InvalidInput) as caught:
        here.data.create("faq", file)
    assert len(caught.value.faults) == 2
    assert list(here.data.list()) == []


def test_it_works_inside_a_running_event_loop(here: Client) -> None:
    async def notebook() -> bool:
        return here.status().running

    assert asyncio.run(notebook()) is False


def test_a_named_control_plane_is_asked_with_the_token(client: Client, api: FakeApi) -> None:
    assert client.status().running
    assert ("GET", "/api/status") in api.seen


def test_a_wrong_token_is_unauthenticated(home: Home, api: FakeApi) -> None:
    with pytest.raises(Unauthenticated):
        Client(home, url=api.url, token="wrong").status()


@pytest.fixture
def closing() -> Iterator[tuple[str, list[bytes]]]:
    """A server that ends its first connection without an answer: its address, what it was sent."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve_two() -> None:
            for answer in (b"", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]"):
                try:
                    caller, _ = door.accept()
                except OSError:
                    return
                with caller:
                    seen.append(caller.recv(65536))
                    caller.sendall(answer)

        thread = threading.Thread(target=serve_two)
        thread.start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}", seen
        door.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_look_is_repeated_where_the_connection_ended(
    home: Home, closing: tuple[str, list[bytes]]
) -> None:
    url, seen = closing
    assert Client(home, url=url, token=TOKEN).connections.list() == []
    assert len(seen) == 2


def test_a_change_is_not_repeated(home: Home, closing: tuple[str, list[bytes]]) -> None:
    url, seen = closing
    with pytest.raises(Unavailable, match="did not answer"):
        Client(home, url=url, token=TOKEN).connections.delete("one")
    assert len(seen) == 1


def test_nobody_at_the_named_address(home: Home) -> None:
    with pytest.raises(Unavailable) as caught:
        Client(home, url="http://127.0.0.1:9").status()
    assert "127.0.0.1:9" in str(caught.value)
    assert "PHOUNDRY_URL" in str(caught.value)


def test_the_proxy_of_the_environment_is_not_used_for_this_machine(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert client.status().running


def announce(home: Home, url: str) -> None:
    home.root.mkdir(parents=True, exist_ok=True)
    home.server_file.write_text(json.dumps({"url": url, "token": TOKEN, "pid": 1}))


def test_a_control_plane_that_started_meanwhile_is_found(home: Home, here: Client) -> None:
    assert not here.status().running
    with serve() as api:
        announce(home, api.url)
        assert here.status().running
    # … and one that has gone is not waited for.
    assert not here.status().running


def test_a_control_plane_that_moved_is_followed(home: Home, here: Client) -> None:
    with serve() as first:
        announce(home, first.url)
        assert here.status().running
    with serve() as second:
        announce(home, second.url)
        assert here.status().running
        assert second.seen == [("GET", "/api/status")]


def test_one_that_was_started_again_on_the_same_port_is_known_by_its_new_token(
    home: Home, here: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve() as api:
        announce(home, api.url)
        assert here.status().running
        monkeypatch.setattr("tests.client.fake_api.TOKEN", "another")
        with pytest.raises(Unauthenticated):
            here.status()
        found = json.loads(home.server_file.read_text())
        home.server_file.write_text(json.dumps(found | {"token": "another"}))
        assert here.status().running


def test_a_stale_address_file_is_not_believed(home: Home, here: Client) -> None:
    announce(home, "http://127.0.0.1:9")
    assert not here.status().running


def test_a_verb_that_needs_a_control_plane_starts_one(
    home: Home, here: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Home] = []
    with serve() as api:

        def ensure_running(home: Home, **_: Any) -> ServerInfo:
            started.append(home)
            announce(home, api.url)
            return ServerInfo(api.url, TOKEN, "http://gateway", 1)

        monkeypatch.setattr("phoundry.server.launch.ensure_running", ensure_running)
        assert not here.status().running
        assert started == []
        from phoundry.specs.endpoint import EndpointSpec

        here.endpoints.create(EndpointSpec(name="faq"))
        here.endpoints.create(EndpointSpec(name="faq-2"))
        assert started == [home]
        assert [each.name for each in here.endpoints.list()] == ["faq", "faq-2"]


def test_without_the_server_extra_the_install_line_is_given(
    here: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "phoundry.server.app", raising=False)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(MissingDependency) as caught:
        here.status()
    assert 'pip install "phoundry[server]"' in str(caught.value)


def test_nothing_shows_the_token(client: Client) -> None:
    client.status()
    shown = repr(client) + repr(client.transport) + repr(vars(client.transport))
    assert TOKEN not in shown


@given(st.text())
def test_a_name_is_one_segment_of_a_path(name: str) -> None:
    if name in ("", ".", ".."):
        with pytest.raises(UsageError):
            segment(name)
    else:
        assert not set(segment(name)) & set("/?#")


@given(st.sampled_from(sorted(tree())), st.text(), st.none() | st.text(min_size=1))
def test_every_error_survives_the_wire(code: str, message: str, remedy: str | None) -> None:
    sent = tree()[code](message, remedy=remedy)
    received = error_of(sent.status, json.dumps({"error": sent.to_dict()}))
    assert type(received) is type(sent)
    assert (received.message, received.remedy) == (message, remedy)


@given(st.integers(400, 599), st.text() | st.recursive(st.none(), st.lists).map(json.dumps))
def test_any_other_reply_is_an_error_of_ours(status: int, text: str) -> None:
    error = error_of(status, text)
    assert isinstance(error, PhoundryError)
    assert str(error)
