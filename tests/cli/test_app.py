"""The command line as a whole: help, mistakes, exit codes, and what it costs to start."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import phoundry
from phoundry.cli.app import SECTIONS, root
from phoundry.errors import Unavailable
from tests.cli.conftest import Shell


def commands(parent: Any = None, command: Any = None, name: str = "phoundry") -> Iterator[Any]:
    """Contexts of every command there is."""
    command = command or root()
    context = command.context_class(command, info_name=name, parent=parent)
    yield context
    names = command.list_commands(context) if hasattr(command, "list_commands") else []
    for each in names:
        yield from commands(context, command.get_command(context, each), each)


EVERY = list(commands())
VERBS = [each for each in EVERY if not hasattr(each.command, "list_commands")]


# They print text as it is, or only say that something is done.
WITHOUT_RESULT = ("logs", "delete", "down", "export", "completion", "uninstall", "serve", "pf")


def test_every_noun_has_the_verbs_it_promises() -> None:
    assert len(VERBS) >= 30
    paths = {each.command_path for each in VERBS}
    for noun, verbs in {
        "data": "create list show",
        "job": "create list show logs cancel",
        "model": "register list show",
        "endpoint": "create list show keys update delete",
        "deployment": "create list show logs delete",
        "connection": "create list show update delete",
        "flow": "init test validate check set run serve build",
    }.items():
        assert {f"phoundry {noun} {verb}" for verb in verbs.split()} <= paths
    assert {f"phoundry {verb}" for verb in ("up", "down", "status", "train", "chat")} <= paths


@pytest.mark.parametrize("context", VERBS, ids=lambda context: context.command_path)
def test_every_verb_explains_itself(context: Any) -> None:
    text = context.command.get_help(context)
    assert f"Usage: {context.command_path}" in text
    example = text.partition("Example:")[2]
    assert context.command_path in example, "the help has no example of this very command"
    for parameter in context.command.params:
        if parameter.name not in ("help", "output"):
            assert parameter.help, f"{parameter.name} is not explained"


@pytest.mark.parametrize(
    "context",
    [each for each in VERBS if each.command.name not in WITHOUT_RESULT],
    ids=lambda context: context.command_path,
)
def test_results_can_be_had_as_json_and_yaml(context: Any) -> None:
    assert any("-o" in parameter.opts for parameter in context.command.params)


def test_the_list_of_commands_says_what_their_own_help_says() -> None:
    listed = {name: text for section in SECTIONS.values() for name, (_, text) in section.items()}
    for context in EVERY:
        if context.parent and not context.parent.parent:
            first = context.command.get_short_help_str(limit=200)
            assert listed[context.info_name].rstrip(".") == first.rstrip(".")


def test_help_needs_nothing_heavy() -> None:
    program = (
        "import sys; from phoundry.cli import main; code = main(['--help']); "
        "print(code, *sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    code, *loaded = done.stderr.split()
    assert code == "0"
    assert "endpoint" in done.stdout
    heavy = {"httpx", "pydantic", "rich", "fastapi", "sqlalchemy", "torch", "mlflow", "ruamel"}
    assert not heavy & set(loaded)


def test_version(shell: Shell) -> None:
    assert shell("--version").out == f"phoundry {phoundry.__version__}\n"


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["endpiont"], "endpoint"), (["data", "craete"], "create"), (["deployments"], "deployment")],
)
def test_a_mistyped_command_names_the_one_that_is_meant(
    shell: Shell, words: list[str], meant: str
) -> None:
    outcome = shell(*words)
    assert outcome.code == 2
    assert f"Did you mean {meant}" in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize(
    "words",
    [
        ["data", "create", "faq"],  # --source is missing
        ["data", "create", "faq", "--sauce", "x"],
        ["data", "show"],
        ["data", "create", "faq", "--source", "x", "--test-size", "much"],
        ["status", "-o", "xml"],
        ["status", "extra"],
    ],
)
def test_a_wrong_call_exits_with_2(shell: Shell, words: list[str]) -> None:
    outcome = shell(*words)
    assert outcome.code == 2
    assert "Error:" in outcome.err
    assert "Traceback" not in outcome.err


def test_an_expected_failure_is_one_message(shell: Shell) -> None:
    outcome = shell("data", "show", "nothing")
    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err.startswith("Error: There is no data asset 'nothing'.")


@pytest.mark.parametrize("option", [["-o", "json"], ["--output=json"], ["-ojson"]])
def test_with_json_an_error_is_json_on_standard_error(shell: Shell, option: list[str]) -> None:
    outcome = shell("data", "show", "nothing", *option)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.error["code"] == "NotFound"
    assert shell("data", "show", *option).error["code"] == "UsageError"


def test_ctrl_c_exits_with_130(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("phoundry.client.client.Client.status", interrupted)
    assert shell("status").code == 130


def test_nobody_at_the_address(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOUNDRY_URL", "http://127.0.0.1:9")
    outcome = shell("job", "list", "-o", "json")
    assert outcome.code == Unavailable.exit_code
    assert "PHOUNDRY_URL" in outcome.error["remedy"]


@pytest.mark.parametrize(
    ("number", "code", "remedy"),
    [
        (errno.ENOSPC, "InsufficientResources", "phoundry prune"),
        (errno.EACCES, "Forbidden", "ls -ld"),
        (errno.EMFILE, "InsufficientResources", "ulimit"),
        (errno.EIO, "Unavailable", "phoundry doctor"),
    ],
)
def test_what_the_system_refuses_is_one_message(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, number: int, code: str, remedy: str
) -> None:
    def refused(self: Any) -> Any:
        raise OSError(number, os.strerror(number), "/there/it")

    monkeypatch.setattr("phoundry.client.client.Client.status", refused)
    outcome = shell("status")
    assert outcome.code == 1
    assert outcome.err.startswith(f"Error: {os.strerror(number)}: /there/it. ")
    assert remedy in outcome.err
    assert "Traceback" not in outcome.err
    assert shell("status", "-o", "json").error["code"] == code


def test_a_usage_line_names_what_is_repeated_once(shell: Shell) -> None:
    assert (
        "Usage: phoundry run visualize [OPTIONS] NAME...\n"
        in shell("run", "visualize", "--help").out
    )
    assert "Usage: phoundry train [OPTIONS] MODEL DATA\n" in shell("train", "--help").out
    assert "[OPTIONS] [ID]...\n" in shell("trace", "export", "--help").out
