"""Prompt flow's command lines: which nouns, verbs and options there are, and what each becomes.

Prompt flow parses with argparse, which also takes the beginning of an option's name
(`--input` for `--inputs`); so does this.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from phoundry.cli.pf.options import OPTIONS, Option
from phoundry.cli.screen import echo
from phoundry.errors import UsageError

HANDLERS = "phoundry.cli.pf."


@dataclass(frozen=True, slots=True)
class Verb:
    """`handler` is `module:function` of this package; without one, `refused` says what to do."""

    help: str
    options: tuple[Option, ...] = ()
    handler: str = ""
    refused: str = ""


NAME = Option("name", ("-n", "--name"), required=True, help="Name of the run.")
YES = Option("yes", ("-y", "--yes", "--assume-yes"), flag=True, help="Ask nothing.")
CONNECTION = Option("name", ("-n", "--name"), required=True, help="Name of the connection.")
SOURCE = Option("source", ("--source",), required=True, help="Folder or file of the flow.")
REPORT = "phoundry run visualize NAME writes a report, and `phoundry trace` shows traces"
OWN_TOOL = "write a Python file with one `@tool` function, and a node with `type: python`"

NOUNS: dict[str, dict[str, Verb]] = {
    "flow": {
        "init": Verb(
            "Make a flow folder.",
            (
                Option("flow", ("--flow",), required=True, help="The folder to make."),
                Option("type", ("--type",), choices=("standard", "evaluation", "chat")),
                YES,
                Option("entry", ("--entry",)),
                Option("function", ("--function",)),
                Option("prompt_template", ("--prompt-template",), many=True),
            ),
            "flows:init",
        ),
        "save": Verb(
            "Save a function or class as a flex flow.",
            (
                Option("entry", ("--entry",), required=True, help="module:function or :class."),
                Option("code", ("--code",), help="Folder with the module; the working folder."),
                Option("path", ("--path",), help="Folder to copy it to."),
            ),
            "flows:save",
        ),
        "test": Verb(
            "Run a flow, or one of its nodes, once.",
            (
                Option("flow", ("--flow",), required=True, help="The flow's folder or file."),
                OPTIONS["node"],
                OPTIONS["variant"],
                Option("interactive", ("--interactive",), flag=True, help="Chat with the flow."),
                OPTIONS["inputs"],
                OPTIONS["environment_variables"],
                OPTIONS["connections"],
                Option("ui", ("--ui",), flag=True, help="Open a page to try it on."),
                Option("detail", ("--detail",), help="File for the whole result."),
                OPTIONS["init"],
                Option("collection", ("--collection",), ignored="traces are found by their flow"),
                Option("skip_open_browser", ("--skip-open-browser",), flag=True, ignored="-"),
            ),
            "flows:test",
        ),
        "validate": Verb("Show every fault of a flow.", (SOURCE,), "flows:validate"),
        "serve": Verb(
            "Put a flow behind an address.",
            (
                SOURCE,
                Option("port", ("--port",), help="Port; 8080.", least=0),
                Option("host", ("--host",), help="Address; localhost."),
                Option("engine", ("--engine",), choices=("flask", "fastapi"), ignored="-"),
                Option("static_folder", ("--static_folder", "--static-folder")),
                OPTIONS["environment_variables"],
                Option("skip_open_browser", ("--skip-open-browser",), flag=True),
                OPTIONS["init"],
            ),
            "flows:serve",
        ),
        "build": Verb(
            "Write a folder that serves the flow by itself.",
            (
                SOURCE,
                Option("output", ("--output", "-o"), required=True, help="Folder to write."),
                Option("format", ("--format", "-f"), choices=("docker", "executable")),
                Option("variant", ("--variant", "-v")),
            ),
            "flows:build",
        ),
    },
    "run": {
        "create": Verb(
            "Run a flow over many lines.",
            (
                Option("file", ("-f", "--file"), help="YAML of the run."),
                Option("stream", ("-s", "--stream"), flag=True, help="Show what lines print."),
                Option("flow", ("--flow",), help="The flow's folder or file."),
                OPTIONS["variant"],
                Option("run", ("--run",), help="A run whose outputs this one reads."),
                Option("name", ("-n", "--name"), help="Name of the run."),
                Option("column_mapping", ("--column-mapping",), many=True),
                OPTIONS["environment_variables"],
                OPTIONS["connections"],
                Option("set", ("--set",), many=True),
                Option("resume_from", ("--resume-from",), help="A run to resume from."),
                OPTIONS["init"],
                Option("data", ("--data",), help="File with the lines."),
                Option("source", ("--source",)),
            ),
            "runs:create",
        ),
        "update": Verb(
            "Change what is said of a run.",
            (NAME, Option("set", ("--set",), many=True)),
            "runs:update",
        ),
        "stream": Verb("Show what a run printed.", (NAME,), "runs:stream"),
        "list": Verb("List runs.", tuple(OPTIONS[key] for key in ("max", "all", "archived",
            "with_archived", "output")), "runs:list_"),
        "show": Verb("Show a run.", (NAME,), "runs:show"),
        "show-details": Verb("Show a run's lines.", (OPTIONS["max"], NAME, OPTIONS["all"]),
            "runs:show_details"),
        "show-metrics": Verb("Show a run's metrics.", (NAME,), "runs:show_metrics"),
        "visualize": Verb(
            "Write a report of runs.",
            (
                Option("names", ("-n", "--names", "--name"), required=True),
                Option("html_path", ("--html-path",), help="File of the report."),
            ),
            "runs:visualize",
        ),
        "archive": Verb("Leave a run out of lists.", (NAME,), "runs:archive"),
        "restore": Verb("Take a run back into lists.", (NAME,), "runs:restore"),
        "delete": Verb("Remove a run.", (NAME, YES), "runs:delete"),
        "build": Verb("Not provided.", refused="a run keeps a snapshot of its flow in its folder; "
            "build the flow: phoundry flow build PATH --output DIR"),
    },
    "connection": {
        "create": Verb(
            "Make a connection.",
            (
                Option("set", ("--set",), many=True),
                Option("file", ("-f", "--file"), required=True, help="Its YAML, or a .env file."),
                Option("name", ("-n", "--name"), help="Its name."),
            ),
            "connections:create",
        ),
        "update": Verb("Change a connection.", (Option("set", ("--set",), many=True), CONNECTION),
            "connections:update"),
        "show": Verb("Show a connection.", (CONNECTION,), "connections:show"),
        "list": Verb("List connections.", (OPTIONS["max"], OPTIONS["all"]), "connections:list_"),
        "delete": Verb("Remove a connection.", (CONNECTION, YES), "connections:delete"),
    },
    "config": {
        "set": Verb(
            "Keep a setting.",
            (
                Option("set", ("params_override",), many=True),
                Option("path", ("--path",), ignored="settings are kept for the whole home"),
            ),
            "settings:set_",
        ),
        "show": Verb("Show what was set.", (), "settings:show"),
    },
    "tool": {
        "list": Verb("List tools.", (Option("flow", ("--flow",)),), "settings:tools"),
        "init": Verb("Not provided.", refused=OWN_TOOL),
        "validate": Verb("Not provided.", refused="phoundry flow validate PATH reads the tools of "
            "a flow without running them"),
    },
    "trace": {"delete": Verb("Not provided.", refused="phoundry trace delete --help")},
    "service": {
        name: Verb("Nothing to do.", handler="settings:service")
        for name in ("start", "stop", "status", "show-status")
    },
    "upgrade": {"": Verb("Nothing to do.", (YES,), "settings:upgrade")},
    "version": {"": Verb("Print the version.", (), "settings:version")},
}  # fmt: skip
EVERYWHERE = (
    Option("verbose", ("--verbose",), flag=True, ignored="-"),
    Option("debug", ("-d", "--debug"), flag=True, ignored="-"),
    Option("user_agent", ("--user-agent",), ignored="-"),
)


@dataclass(slots=True)
class Call:
    """A command line that was understood: which verb, and the values of its options."""

    noun: str
    verb: str
    entry: Verb
    values: dict[str, Any] = field(default_factory=dict[str, Any])


def run(words: Sequence[str]) -> int:
    """Do what the command line `words` asks for; the exit code.

    Raises:
        UsageError: no such noun, verb or option, or one that can't be done here.
    """
    try:
        call = parse(words)
    except _Helped:
        return 0
    name = f"pf {call.noun} {call.verb}".strip()
    if call.entry.refused:
        raise UsageError(f"`{name}` is not provided.", remedy=f"Instead: {call.entry.refused}.")
    for option in (*call.entry.options, *EVERYWHERE):
        given = call.values.get(option.name)
        if option.ignored not in ("", "-") and given:
            echo(f"{option.flags[-1]} is taken without effect: {option.ignored}.", err=True)
    module, _, function = call.entry.handler.partition(":")
    return getattr(importlib.import_module(HANDLERS + module), function)(call.values) or 0


def parse(words: Sequence[str]) -> Call:
    """Read one command line.

    Raises:
        UsageError: it is none of Prompt flow's.
    """
    nouns = _Parser(prog="pf", description="Prompt flow's command lines, on Phoundry.")
    nouns.add_argument("-v", "--version", action="store_true", help="Show the version and exit.")
    if list(words) in (["-v"], ["--version"]):
        return Call("version", "", NOUNS["version"][""])
    by_noun: Any = nouns.add_subparsers(dest="noun", required=True, parser_class=_Parser)
    for noun, verbs in NOUNS.items():
        title = verbs[""].help if "" in verbs else f"{', '.join(verbs)}."
        parser = by_noun.add_parser(noun, help=title, description=title)
        if "" in verbs:
            _add(parser, verbs[""])
            continue
        by_verb = parser.add_subparsers(dest="verb", required=True, parser_class=_Parser)
        for verb, entry in verbs.items():
            under = by_verb.add_parser(verb, help=entry.help, description=entry.help)
            _add(under, entry)
    found = vars(nouns.parse_args(list(words)))
    noun, verb = found["noun"], found.get("verb") or ""
    return Call(noun, verb, NOUNS[noun][verb], found)


def _add(parser: argparse.ArgumentParser, entry: Verb) -> None:
    for option in (*entry.options, *EVERYWHERE):
        option.add_to(parser)


class _Helped(Exception):
    """The help was asked for and printed."""


class _Parser(argparse.ArgumentParser):
    """A parser that raises instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}.", remedy=f"See: {self.prog} --help")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise _Helped(message)
