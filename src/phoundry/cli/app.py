"""The root of the command line: which commands there are, and how every call ends.

A command's module is imported when that command runs or is asked for help, never before, so that
`phoundry --help` stays instant.

Exit codes: 0 done; 1 failed; 2 the call itself is wrong; 130 interrupted. An expected failure is
printed once, on standard error, without a traceback; with `-o json` as `{"error": {…}}`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from phoundry.cli.commands import COMPLETE_VARIABLE, PLAIN, as_command
from phoundry.cli.output import chosen_format, report
from phoundry.errors import PhoundryError, nearest
from phoundry.errors import UsageError as PhoundryUsageError

# section -> command -> (where it is, what it does). The sentence is the first one of the command's
# own help, written again here so that the list of commands needs no import; a test compares them.
SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "The journey": {
        "up": ("phoundry.cli.up:up", "Start Phoundry; with DATA, walk from data to chat."),
        "demo": (
            "phoundry.cli.demo:demo",
            "Walk the whole journey on a real model and real data, in minutes.",
        ),
        "apply": (
            "phoundry.cli.apply:apply",
            "Make what a file declares: show the plan, ask, do it.",
        ),
        "get": ("phoundry.cli.apply:get", "Write the file that would make NAME again."),
        "chat": ("phoundry.cli.chat:chat", "Chat with a flow, an endpoint or a model."),
        "train": ("phoundry.cli.train:train", "Fine-tune MODEL on the data asset DATA."),
        "status": ("phoundry.cli.up:status", "Show what runs, and where."),
        "down": ("phoundry.cli.up:down", "Stop Phoundry and everything it runs."),
    },
    "Step by step": {
        "data": ("phoundry.cli.data:app", "Data assets: checked, split, versioned chats."),
        "job": ("phoundry.cli.jobs:app", "Jobs: fine-tunes and batches."),
        "model": ("phoundry.cli.models:app", "Registered models and the catalog."),
        "endpoint": ("phoundry.cli.endpoints:app", "Endpoints: an address, keys, traffic, limits."),
        "deployment": ("phoundry.cli.deployments:app", "Deployments: a model behind an endpoint."),
        "connection": ("phoundry.cli.connections:app", "Connections: addresses and secrets."),
        "flow": ("phoundry.cli.flows:app", "Prompt flow folders."),
        "trace": ("phoundry.cli.traces:app", "Traces of flows: what every run did."),
        "run": ("phoundry.cli.flow_runs:app", "Batch runs of flows."),
        "pf": ("phoundry.cli.pf:app", "Accept Prompt flow's own command lines."),
    },
    "This machine": {
        "doctor": ("phoundry.cli.doctor:doctor", "Check that everything needed is there."),
        "prune": ("phoundry.cli.prune:prune", "Free the disk space of what can be made again."),
        "config": ("phoundry.cli.config:app", "Where Phoundry keeps things, and its settings."),
        "service": ("phoundry.cli.service:app", "Start Phoundry with the machine."),
        "completion": (
            "phoundry.cli.completion:completion",
            "Print or install the completion of a shell.",
        ),
    },
}


class LazyGroup(TyperGroup):
    """A group whose commands are the ones of SECTIONS, imported one at a time."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for commands in SECTIONS.values() for name in commands]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        for commands in SECTIONS.values():
            if cmd_name in commands:
                module, _, attribute = commands[cmd_name][0].partition(":")
                return as_command(cmd_name, getattr(importlib.import_module(module), attribute))
        return None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """From the table: importing every command would take longer than a shell may wait."""
        from typer._click.shell_completion import CompletionItem

        commands = {name: text for each in SECTIONS.values() for name, (_, text) in each.items()}
        found = [
            CompletionItem(name, help=text)
            for name, text in commands.items()
            if name.startswith(incomplete)
        ]
        return found or super().shell_complete(ctx, incomplete)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        known = self.list_commands(ctx)
        if name not in known and not name.startswith("-"):
            near = nearest(name, known)
            hint = f"Did you mean {', '.join(near)}?" if near else "See `phoundry --help`."
            raise PhoundryUsageError(f"There is no command '{name}'.", remedy=hint)
        return super().resolve_command(ctx, args)


def _print_version(wanted: bool) -> None:
    if wanted:
        from phoundry import __version__

        typer.echo(f"phoundry {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="And exit.")
    ] = False,
) -> None:
    """Fine-tune a small language model on your data and chat with it, on your own machine.

    Start with `phoundry up FILE.jsonl`: it walks the whole journey.
    """


def root() -> Any:
    """The root command (a click group as Typer carries it)."""
    app = typer.Typer(cls=LazyGroup, no_args_is_help=True, **PLAIN)
    app.callback()(_root)
    return typer.main.get_command(app)


def _complete() -> int:
    """Answer a shell that asks what can follow; it must never print a complaint."""
    from typer._completion_classes import completion_init

    completion_init()
    with suppress(PhoundryError, typer.TyperException):
        root().main(args=[], prog_name="phoundry", complete_var=COMPLETE_VARIABLE)
    return 0


def refused(error: OSError, words: Sequence[str]) -> int:
    """Tell what the system refused to the command line `words`; the exit code."""
    from phoundry.cli.system_errors import of_system

    told = of_system(error)
    report(told, chosen_format(words))
    return told.exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (`sys.argv` unless given) and return its exit code."""
    if os.environ.get(COMPLETE_VARIABLE):
        return _complete()
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = chosen_format(words)
    try:
        result = root().main(args=words, prog_name="phoundry", standalone_mode=False)
    except PhoundryError as error:
        report(error, chosen)
        return error.exit_code
    except OSError as error:
        return refused(error, words)
    except typer.Abort:  # Ctrl-C or end of input at a prompt
        return 130
    except typer.TyperException as error:
        report(error, chosen)
        return error.exit_code
    return result if isinstance(result, int) else 0
