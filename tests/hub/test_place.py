"""Where the hub is: what the environment says at this moment, not when something was imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.hub.place import address, offline, shown_address, user_cache
from phoundry.settings import Settings


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def test_the_hub_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert address().startswith("https://")
    monkeypatch.setenv("HF_ENDPOINT", "http://me:secret@mirror.example:8080/hub/")
    assert address() == "http://me:secret@mirror.example:8080/hub"
    assert shown_address() == "http://mirror.example:8080/hub"
    monkeypatch.setenv("HF_ENDPOINT", "http://[broken")
    assert "no address" in shown_address()


@pytest.mark.parametrize(
    ("text", "meant"),
    [("1", True), ("ON", True), ("True", True), ("yes", True), ("0", False), ("", False)],
)
def test_whether_the_network_may_be_used(
    text: str, meant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not offline()
    monkeypatch.setenv("HF_HUB_OFFLINE", text)
    assert offline() is meant


def test_the_users_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings({}).hub_cache is None
    assert user_cache().is_absolute()
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", "~/models")  # goes before HF_HOME
    assert user_cache() == Path("~/models").expanduser()


def test_settings_know_whether_there_is_a_token_and_never_say_it() -> None:
    assert not Settings({}).hub_token_given
    given = Settings({"HF_TOKEN": "hf_secret"})
    assert given.hub_token_given
