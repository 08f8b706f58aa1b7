"""Other spellings: `-n NAME`, `--set`, and the environment."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.cli.arguments import placed
from phoundry.cli.commands import named, variable_of
from phoundry.settings import VARIABLES, Home
from tests.cli.conftest import Shell
from tests.cli.test_app import VERBS
from tests.client.fake_api import FakeApi


def arguments(context: Any) -> list[str]:
    return [p.name for p in context.command.params if p.param_type_name == "argument"]


NAMED = [verb for verb in VERBS if arguments(verb)[:1] == ["name"]]


def test_a_name_is_taken_by_option_at_every_verb_that_has_one() -> None:
    assert len(NAMED) >= 25
    for verb in NAMED:
        parameters = verb.command.get_params(verb)
        for words in (["-n", "blue"], ["--name", "blue"], ["--name=blue"]):
            assert named(words, parameters) == ["blue"], verb.command_path


@given(st.lists(st.text(min_size=1).filter(lambda word: not word.startswith("-"))))
def test_words_without_it_stay_as_they_are(words: list[str]) -> None:
    for verb in NAMED:
        assert named(words, verb.command.get_params(verb)) == words


def test_what_another_option_takes_is_no_name() -> None:
    create = next(verb for verb in NAMED if verb.command_path == "phoundry deployment create")
    parameters = create.command.get_params(create)
    words = ["--model", "-n", "-n", "blue", "-e", "faq"]
    assert named(words, parameters) == ["blue", "--model", "-n", "-e", "faq"]
    assert named(["--", "-n", "x"], parameters) == ["--", "-n", "x"]


def test_azures_command_lines(shell: Shell, api: FakeApi) -> None:
    assert shell("endpoint", "create", "-n", "faq").code == 0
    api.deployment_states = [{"provisioning_state": "Succeeded"}]
    words = ("-n", "blue", "--endpoint-name", "faq", "--model", "faq:1", "--set", "description=b")
    made = shell("deployment", "create", *words, "-o", "json")
    assert made.code == 0, made.err
    assert shell("endpoint", "show", "--name", "faq", "-o", "json").json["name"] == "faq"
    assert shell("endpoint", "show", "-n").code == 2
    assert shell("endpoint", "show", "faq", "-n", "faq").code == 2  # twice is once too often


def test_set_reaches_every_depth() -> None:
    document = {"name": "x", "defaults": {"temperature": 1}}
    values = {"defaults.stop": '["a", "b"]', "tags.team": "x=y", "name": "[z"}
    assert placed(document, values) == {
        "name": "[z",
        "defaults": {"temperature": 1, "stop": ["a", "b"]},
        "tags": {"team": "x=y"},
    }
    assert document == {"name": "x", "defaults": {"temperature": 1}}


def test_every_option_has_a_variable_and_none_is_a_settings() -> None:
    found: list[str] = []
    for verb in VERBS:
        for parameter in verb.command.params:
            variable = variable_of(verb.command_path, parameter)
            expected = parameter.param_type_name == "option" and parameter.name != "help"
            assert bool(variable) is expected, (verb.command_path, parameter.name)
            found += [variable] if variable else []
    assert len(found) == len(set(found)) > 100
    assert not {variable.name for variable in VARIABLES} & set(found)
    assert {"PHOUNDRY_UP_PORT", "PHOUNDRY_PRUNE_ALL", "PHOUNDRY_DATA_CREATE_TEST_SIZE"} <= set(
        found
    )


def test_the_environment_is_read_and_the_command_line_wins(
    shell: Shell, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOUNDRY_CONFIG_PATH_OUTPUT", "json")
    assert shell("config", "path").json["home"] == str(home.root)
    assert shell("config", "path", "home", "-o", "table").out == f"{home.root}\n"
    monkeypatch.setenv("PHOUNDRY_CONFIG_PATH_OUTPUT", "")
    assert shell("config", "path", "home").out == f"{home.root}\n"


@pytest.mark.parametrize(("text", "asked"), [("1", True), ("yes", True), ("0", False)])
def test_a_switch_in_the_environment(
    shell: Shell, home: Home, monkeypatch: pytest.MonkeyPatch, text: str, asked: bool
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("PHOUNDRY_DOCTOR_OFFLINE", text)
    assert ("(--offline)" in shell("doctor").out) is asked


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [("PHOUNDRY_UP_PORT", "high", ("up",)), ("PHOUNDRY_DOCTOR_OFFLINE", "maybe", ("doctor",))],
)
def test_a_bad_value_names_its_variable(
    shell: Shell,
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    words: tuple[str, ...],
) -> None:
    monkeypatch.setenv(variable, value)
    done = shell(*words)
    assert done.code == 2
    assert f"(from {variable})" in done.err
    assert "Traceback" not in done.err


def test_help_is_the_same_whatever_the_environment_says(
    shell: Shell, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shell("up", "--help").out
    monkeypatch.setenv("PHOUNDRY_UP_PORT", "7500")
    assert shell("up", "--help").out == before
    assert "PHOUNDRY_UP_PORT" not in before
