from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.client import Client
from phoundry.client.redirect import Redirected, Target, check_redirect
from phoundry.errors import Conflict, PhoundryError, UsageError
from phoundry.flows import load_flow
from phoundry.settings import Home
from phoundry.specs.connection import ConnectionSpec
from tests.client.flow_folders import asking_flow, echo_flow

GATEWAY = "http://127.0.0.1:7411"
TARGET = Target("base", f"{GATEWAY}/endpoints/base/score", f"{GATEWAY}/v1", "key-of-base")


def connect(client: Client, name: str) -> None:
    values = {
        "name": name,
        "configs": {"api_base": f"{GATEWAY}/v1", "model": name},
        "secrets": {"endpoint": f"{GATEWAY}/endpoints/{name}/score", "key": f"key-{name}"},
    }
    client.connections.create(ConnectionSpec.model_validate(values))


def test_the_only_fitting_connection_is_taken_and_remembered(here: Client, tmp_path: Path) -> None:
    flow = asking_flow(tmp_path / "flow")
    connect(here, "one")
    result = here.flows.run(flow, {"question": "Q"})
    assert result.status == "Completed"
    assert result.output
    assert "endpoints/one/score" in result.output["answer"]
    assert here.flows.settings(flow).connections == {"ask.connection": "one"}
    # A second one that fits changes nothing: the choice was made.
    connect(here, "two")
    again = here.flows.run(flow, {})
    assert again.output
    assert "endpoints/one/score" in again.output["answer"]


def test_a_choice_is_asked_for_and_kept(here: Client, tmp_path: Path) -> None:
    flow = asking_flow(tmp_path / "flow")
    connect(here, "one")
    connect(here, "two")
    with pytest.raises(Conflict, match="--connections"):
        here.flows.run(flow, {})
    here.flows.run(flow, {}, overrides={"ask.connection": "two"})
    assert here.flows.settings(flow).connections == {"ask.connection": "two"}


def test_a_flow_without_connections_needs_no_store(
    home: Home, here: Client, tmp_path: Path
) -> None:
    flow = echo_flow(tmp_path / "flow")
    result = here.flows.run(flow, {"question": "Q"})
    assert result.output == {"answer": "0: Q"}
    assert not home.database.exists()


def test_a_chat_keeps_its_history(here: Client, tmp_path: Path) -> None:
    flow = echo_flow(tmp_path / "flow")
    with here.flows.chat(flow) as chat:
        assert "".join(chat.ask("a")) == "0: a"
        with pytest.raises(PhoundryError, match="asked to fail"):
            "".join(chat.ask("fail"))
        assert "".join(chat.ask("b")) == "1: b"
        chat.reset()
        assert "".join(chat.ask("c")) == "0: c"


def test_chat_roles_are_remembered(here: Client, tmp_path: Path) -> None:
    flow = echo_flow(tmp_path / "flow")
    file = flow / "flow.dag.yaml"
    before = file.read_bytes().replace(
        b"question: {type: string}", b"question: {type: string}\n  x: {type: string, default: y}"
    )
    file.write_bytes(before)
    with pytest.raises(Conflict, match="--chat-input"):
        here.flows.chat(flow)
    here.flows.chat(flow, chat_input="question").close()
    with here.flows.chat(flow) as chat:
        assert "".join(chat.ask("a")) == "0: a"
    assert file.read_bytes() == before


def test_the_same_flow_is_led_to_another_model(here: Client, tmp_path: Path) -> None:
    flow = asking_flow(tmp_path / "flow")
    connect(here, "one")
    with here.flows.chat(flow, redirect=TARGET) as chat:
        assert "".join(chat.ask("Q")) == f"Q -> {TARGET.scoring_uri} as {TARGET.key}"
    with here.flows.chat(flow) as chat:
        assert "endpoints/one/score" in "".join(chat.ask("Q"))
    # The comparison left no trace in what is remembered or stored.
    assert here.connections.values("one").secrets["key"] == "key-one"


def test_only_what_leads_to_the_gateway_is_led_elsewhere(here: Client) -> None:
    connect(here, "one")
    elsewhere = {"name": "search", "configs": {"url": "https://x"}, "secrets": {"key": "s"}}
    here.connections.create(ConnectionSpec.model_validate(elsewhere))
    redirected = Redirected(here.connections, TARGET)
    assert redirected.values("search").secrets == {"key": "s"}
    assert not redirected.used
    found = redirected.values("one")
    assert redirected.used
    assert found.configs == {"api_base": TARGET.openai_base_url, "model": "base"}
    assert found.secrets == {"endpoint": TARGET.scoring_uri, "key": TARGET.key}


def test_comparing_a_flow_that_calls_nothing_here_is_refused(here: Client, tmp_path: Path) -> None:
    flow = echo_flow(tmp_path / "flow")
    with here.flows.chat(flow, redirect=TARGET) as chat, pytest.raises(UsageError, match="compare"):
        "".join(chat.ask("Q"))


def test_a_scoring_address_cannot_name_a_deployment(tmp_path: Path) -> None:
    flow = load_flow(asking_flow(tmp_path / "flow"))
    pinned = Target("base/blue", TARGET.scoring_uri, TARGET.openai_base_url, TARGET.key)
    check_redirect(flow, TARGET)
    with pytest.raises(UsageError, match="base/blue"):
        check_redirect(flow, pinned)
