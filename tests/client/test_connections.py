from __future__ import annotations

import pytest

from phoundry.client import Client
from phoundry.errors import Conflict, NotFound
from phoundry.settings import Home
from phoundry.specs.connection import ConnectionSpec

CANARY = "canary-secret-value"


def spec(**secrets: str) -> ConnectionSpec:
    return ConnectionSpec.model_validate(
        {"name": "faq", "configs": {"endpoint": "http://x"}, "secrets": secrets}
    )


def test_secrets_go_in_and_come_out_for_a_flow_alone(here: Client) -> None:
    shown = here.connections.create(spec(key=CANARY))
    assert shown.secrets == {"key": "***"}
    assert here.connections.show("faq").configs == {"endpoint": "http://x"}
    values = here.connections.values("faq")
    assert values.secrets == {"key": CANARY}
    listed = repr(here.connections.list())
    assert CANARY not in repr(values) + repr(shown) + listed


def test_nothing_under_the_home_holds_the_secret_in_clear(home: Home, here: Client) -> None:
    here.connections.create(spec(key=CANARY))
    here.close()
    files = [file for file in home.root.rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if CANARY.encode() in file.read_bytes()]


def test_replacing_and_deleting(here: Client) -> None:
    here.connections.create(spec(key="old"))
    with pytest.raises(Conflict):
        here.connections.create(spec(key="new"))
    here.connections.replace(spec(key="new"))
    found = here.connections.find("faq")
    assert found
    assert found.secrets == {"key": "new"}
    here.connections.delete("faq")
    assert here.connections.find("faq") is None
    with pytest.raises(NotFound):
        here.connections.show("faq")
