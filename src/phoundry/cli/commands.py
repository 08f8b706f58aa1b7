"""What every command has in common: plain help, an example, options that take several values,
a name that may be given as `-n NAME`, and a variable of the environment for every option."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from phoundry.cli.completing import NAMED, complete
from phoundry.errors import UsageError, nearest

Function = TypeVar("Function", bound=Callable[..., Any])

# Plain text: Typer's rich help costs a tenth of a second at every call.
PLAIN: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
}
COMPLETE_VARIABLE = "_PHOUNDRY_COMPLETE"  # set by a shell that asks what can follow
# An argument, and the options by which Azure's and Prompt flow's command lines have it.
SPELLINGS = {"name": ("-n", "--name"), "path": ("--flow",)}
_BRACED = re.compile(r"^\{(?P<name>.*)\}(?=(?:\.\.\.)?$)")
_TWICE = re.compile(r"^\[\[(?P<name>.*)\]\.\.\.\](?=\.\.\.$)")  # optional, twice said
ASSIGNMENT = re.compile(r"^[\w.${}-]+=")


class Command(TyperCommand):
    """A command whose repeatable options also take several values at once.

    `--inputs a=1 b=2` is `--inputs a=1 --inputs b=2`, as Azure's and Prompt flow's command lines
    have it. Only words of the form `name=value` are taken so, so that arguments stay arguments.

    Another of their spellings: a NAME may be given as `-n NAME` or `--name NAME`, a flow's PATH as
    `--flow PATH`. An option may stand in the environment, as PHOUNDRY_<COMMAND>_<OPTION>; the
    command line wins.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for parameter in self.params:
            if parameter.name == "name" or parameter.name in NAMED:
                # Typer's own hook of a parameter, whose place it is meant for.
                parameter._custom_shell_complete = complete  # pyright: ignore[reportPrivateUsage]
            if parameter.metavar is not None:
                continue
            if parameter.param_type_name == "argument":
                parameter.metavar = parameter.name.upper()
            elif getattr(parameter, "multiple", False):
                parameter.metavar = "VALUE..."

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        # Typer marks what is required with braces, which read like a placeholder of the shell.
        return [_usage(piece) for piece in super().collect_usage_pieces(ctx)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        repeatable = {
            name
            for parameter in self.get_params(ctx)
            if getattr(parameter, "multiple", False)
            for name in parameter.opts
        }
        words = named(args, self.get_params(ctx))
        options: list[Any] = list(self.params)
        for parameter in options:
            if variable := variable_of(ctx.command_path, parameter):
                parameter.envvar = variable
                parameter.show_envvar = False  # one rule for all needs no line for each
        try:
            return super().parse_args(ctx, spread(words, repeatable))
        except typer.BadParameter as error:
            found = error.param
            if found and ctx.get_parameter_source(found.name).name == "ENVIRONMENT":
                error.param_hint = f"{found.get_error_hint()} (from {found.envvar})"
            raise


def _usage(piece: str) -> str:
    """`NAME...` of `{NAME...}...`, and `[ID]...` of `[[ID]...]...`."""
    plain = _TWICE.sub(r"[\g<name>]", _BRACED.sub(r"\g<name>", piece))
    return plain.replace("......", "...")


def variable_of(path: str, parameter: Any) -> str | None:
    """The variable in which an option of the command `path` may stand, or None for an argument."""
    long = [name for name in parameter.opts if name.startswith("--")]
    if parameter.param_type_name != "option" or parameter.name == "help" or not long:
        return None
    words = [*path.split()[1:], long[0].removeprefix("--")]
    return "_".join(["PHOUNDRY", *words]).replace("-", "_").upper()


def named(words: list[str], parameters: list[Any]) -> list[str]:
    """`words` with the NAME of `-n NAME` at the front, for a command whose first argument it is."""
    options = [each for each in parameters if each.param_type_name == "option"]
    taken = {name for each in options for name in each.opts}
    arguments = [each.name for each in parameters if each.param_type_name == "argument"]
    spellings = SPELLINGS.get(arguments[0], ()) if arguments else ()
    if not spellings or not taken.isdisjoint(spellings):
        return words
    valued = {name for each in options if not each.is_flag for name in each.opts}
    place = 0
    while place < len(words) and words[place] != "--":
        word = words[place]
        option, equals, value = word.partition("=")
        if equals and option in spellings:
            return [value, *words[:place], *words[place + 1 :]]
        if word in spellings:
            if place + 1 == len(words):
                raise UsageError(f"{word} names nothing.", remedy=f"Write {word} NAME.")
            return [words[place + 1], *words[:place], *words[place + 2 :]]
        place += 2 if word in valued else 1
    return words


class Noun(TyperGroup):
    """A group of verbs that names the nearest one after a typing mistake."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            near = nearest(args[0], known) or known
            raise UsageError(
                f"There is no command '{ctx.info_name} {args[0]}'.",
                remedy=f"Did you mean {', '.join(near)}?",
            )
        return super().resolve_command(ctx, args)


def spread(words: list[str], repeatable: set[str]) -> list[str]:
    """`words` with the option's name set before each further value of a repeatable option."""
    result: list[str] = []
    option: str | None = None
    for index, word in enumerate(words):
        if word == "--":
            return result + words[index:]
        if word in repeatable:
            option = word
        elif word.startswith("-"):
            option = None
        elif option and result[-1] != option:
            if ASSIGNMENT.match(word):
                result.append(option)
            else:
                option = None
        result.append(word)
    return result


def noun(text: str) -> typer.Typer:
    """The app of one noun; its verbs are added with `verb`."""
    app = typer.Typer(cls=Noun, no_args_is_help=True, help=text, **PLAIN)
    app.callback()(lambda: None)  # keeps an app of one verb a group
    return app


def verb(
    app: typer.Typer, name: str, *, example: str, more: str = ""
) -> Callable[[Function], Function]:
    """Add a function to `app` as the verb `name`, with an example (and `more`) in its help."""
    return app.command(name, cls=Command, epilog=example_text(example, more))


def example_text(example: str, more: str = "") -> str:
    """Help text that is printed as it stands (a paragraph after `\\b` is not wrapped)."""
    blocks = ["Example:\n" + "\n".join(f"  {line}" for line in example.splitlines())]
    if more:
        blocks.append(more)
    return "\n\n".join("\b\n" + block for block in blocks)


def alone(*, example: str, more: str = "") -> Callable[[Function], Function]:
    """Mark a function as a command of the root, with an example in its help."""

    def mark(function: Function) -> Function:
        function.__dict__["epilog"] = example_text(example, more)
        return function

    return mark


def as_command(name: str, target: Any) -> Any:
    """The click command of a noun's app, or of a function marked with `alone`."""
    if not isinstance(target, typer.Typer):
        app = typer.Typer(**PLAIN)
        app.command(name, cls=Command, epilog=target.epilog)(target)
        target = app
    command = typer.main.get_command(target)
    command.name = name
    return command
