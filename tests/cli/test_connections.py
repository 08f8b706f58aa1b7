"""`phoundry connection`, over the real services: the ways for a secret to come in."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.client import Client
from phoundry.errors import InvalidInput
from phoundry.specs.connection_file import read_connection
from tests.cli.conftest import Outcome, Shell

CANARY = "canary-secret-value"


def stored(name: str = "faq") -> dict[str, str]:
    return Client().connections.values(name).secrets


def silent(outcome: Outcome) -> Outcome:
    """The outcome, if the secret is nowhere in it."""
    assert CANARY not in outcome.out + outcome.err
    return outcome


def test_one_secret_from_standard_input(shell: Shell) -> None:
    words = ["connection", "create", "faq", "--set", "endpoint=http://x", "--secret", "key"]
    made = silent(shell(*words, "--secret-stdin", "-o", "json", stdin=CANARY + "\n"))
    assert made.code == 0
    assert made.json["configs"] == {"endpoint": "http://x"}
    assert made.json["secrets"] == {"key": "***"}
    assert stored() == {"key": CANARY}


def test_a_single_value_may_hold_the_sign_that_assigns(shell: Shell) -> None:
    shell("connection", "create", "faq", "--secret", "key", "--secret-stdin", stdin="YmFzZTY0==\n")
    assert stored() == {"key": "YmFzZTY0=="}


def test_lines_of_standard_input(shell: Shell) -> None:
    words = ["connection", "create", "faq", "--secret", "a", "--secret", "b", "--secret-stdin"]
    assert silent(shell(*words, stdin=f"a={CANARY}\nb=x=y\n")).code == 0
    assert stored() == {"a": CANARY, "b": "x=y"}


def test_a_secret_from_the_environment(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAQ_KEY", CANARY)
    assert silent(shell("connection", "create", "faq", "--secret", "key=env:FAQ_KEY")).code == 0
    assert stored() == {"key": CANARY}
    assert shell("connection", "create", "f2", "--secret", "key=env:NOT_SET").code == 2


def test_a_secret_that_is_typed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def getpass(prompt: str) -> str:
        asked.append(prompt)
        return CANARY

    monkeypatch.setattr("getpass.getpass", getpass)
    made = shell("connection", "create", "faq", "--secret", "key", terminal=True)
    assert silent(made).code == 0
    assert asked == ["key: "]
    assert stored() == {"key": CANARY}


def test_a_secret_on_the_command_line_is_refused_with_the_reason(shell: Shell) -> None:
    outcome = shell("connection", "create", "faq", "--secret", f"key={CANARY}")
    assert outcome.code == 2
    assert "every user of this machine can read it" in outcome.err
    assert "env:VARIABLE" in silent(outcome).err
    assert Client().connections.find("faq") is None


@pytest.mark.parametrize("stdin", ["", "a=1\nb=2\n", "no assignment\nat all\n"])
def test_standard_input_without_the_secret(shell: Shell, stdin: str) -> None:
    words = ["connection", "create", "faq", "--secret", "key", "--secret-stdin"]
    assert shell(*words, stdin=stdin).code == 2
    assert Client().connections.find("faq") is None


def test_without_a_terminal_nothing_waits_for_a_prompt(shell: Shell) -> None:
    outcome = shell("connection", "create", "faq", "--secret", "key")
    assert outcome.code == 2
    assert "--secret-stdin" in outcome.err


def test_a_file_of_prompt_flow(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "connection.yaml"
    file.write_text(
        "$schema: https://example.org/CustomConnection.schema.json\nname: faq\ntype: custom\n"
        f"configs:\n  endpoint: http://x\n  retries: 3\nsecrets:\n  key: {CANARY}\n"
        "  other: <user-input>\n"
    )
    assert shell("connection", "create", "-f", str(file)).code == 2  # nobody can be asked
    made = shell("connection", "create", "-f", str(file), "--secret", "other=env:PATH")
    assert silent(made).code == 0
    assert stored()["key"] == CANARY
    assert Client().connections.show("faq").configs == {"endpoint": "http://x", "retries": "3"}


def test_a_strong_typed_file(tmp_path: Path) -> None:
    file = tmp_path / "open_ai.yaml"
    file.write_text("name: oa\ntype: open_ai\napi_key: k\nbase_url: http://x\n")
    found = read_connection(file)
    assert (found["secrets"], found["configs"]) == ({"api_key": "k"}, {"base_url": "http://x"})


def test_unknown_keys_of_a_file_are_named_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("name: faq\nconfig:\n  a: b\nsecret:\n  c: d\n")
    with pytest.raises(InvalidInput) as caught:
        read_connection(file)
    assert [fault.where for fault in caught.value.faults] == [f"{file}:2", f"{file}:4"]
    assert "did you mean configs?" in str(caught.value)


def test_update_keeps_what_is_not_named(shell: Shell) -> None:
    create = ["connection", "create", "faq", "--set", "a=1", "b=2", "--secret", "key"]
    shell(*create, "--secret-stdin", stdin=CANARY)
    assert silent(shell("connection", "update", "faq", "--set", "b=3")).code == 0
    assert Client().connections.show("faq").configs == {"a": "1", "b": "3"}
    assert stored() == {"key": CANARY}


def test_show_list_delete(shell: Shell) -> None:
    shell("connection", "create", "faq", "--secret", "key", "--secret-stdin", stdin=CANARY)
    assert "key = ***" in silent(shell("connection", "show", "faq")).out
    assert silent(shell("connection", "list", "-o", "json")).json[0]["name"] == "faq"
    assert shell("connection", "delete", "faq").code == 2  # nobody agreed
    assert shell("connection", "delete", "faq", "-y").code == 0
    assert shell("connection", "delete", "faq", "-y").code == 1


def test_one_name_cannot_be_secret_and_clear(shell: Shell) -> None:
    words = ["connection", "create", "faq", "--set", "key=1", "--secret", "key=env:PATH"]
    assert shell(*words).code == 2


@pytest.mark.parametrize(
    "body",
    [
        "secrets:\n  key: canary\n  key: canary\n",
        "secrets:\n  - canary\n",
        "secrets: canary\n",
        "secrets:\n  {a: canary}: b\n",
        "secrets:\n  key: [canary]\n",
        "secrets:\n  key: !x canary\n",
        "secrets:\n  key:\n",
        "secrets:\n  key: canary\nconfigs: [canary]\n",
        "secrets:\n  key: [canary\n",
        "secrets:\n  key: canary\nsecret: canary\n",
    ],
)
@pytest.mark.parametrize("format_", ["table", "json"])
def test_a_bad_file_is_told_without_its_values(
    shell: Shell, tmp_path: Path, body: str, format_: str
) -> None:
    file = tmp_path / "connection.yaml"
    file.write_text(f"name: other\ntype: custom\n{body}")
    done = shell("connection", "create", "-f", str(file), "-o", format_)
    assert done.code == 1
    assert "connection.yaml:" in done.err
    assert "canary" not in done.out + done.err
    assert shell("connection", "list", "-o", "json").json == []


def test_dates_and_numbers_are_text(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "connection.yaml"
    file.write_text("name: c\nconfigs: {api_version: 2024-02-01, port: 80, on: true}\n")
    made = shell("connection", "create", "-f", str(file), "-o", "json").json
    assert made["configs"] == {"api_version": "2024-02-01", "port": "80", "on": "true"}
