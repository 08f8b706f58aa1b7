"""Which names a parameter of a command takes, for the completion of a shell."""

from __future__ import annotations

from typing import Any

# parameter -> nouns; `name` is the noun of the command itself, except where it is being made
NAMED: dict[str, tuple[str, ...]] = {
    "endpoint": ("endpoint",),
    "job": ("job",),
    "model": ("model", "catalog"),
    "base": ("model", "catalog"),
    "data": ("data",),
    "training_data": ("data",),
    "validation": ("data",),
    "validation_data": ("data",),
    "other": ("data",),
    "connection": ("connection",),
    "target": ("endpoint", "deployment", "flow", "model", "catalog"),
    "compare": ("endpoint", "deployment", "model", "catalog"),
    "flow": ("flow",),
    "run": ("run",),
    "names": ("run",),
    "resume_from": ("run",),
    "path": ("flow",),
}
OF_ROOT = {"get": ("journey", "endpoint")}
MADE = ("create", "init", "install")  # their NAME is a new one; of data a new version


def complete(context: Any, parameter: Any, incomplete: str) -> list[Any]:
    """The names that begin with what is typed. Nothing is started for it.

    In place of Typer's own function of a parameter; files are completed by the shell.
    """
    from phoundry.services.known import known
    from phoundry.settings import Home

    names: list[str] = []
    for noun in nouns(context.command_path.split()[1:], parameter.name):
        names += _catalog() if noun == "catalog" else known(Home.current(), noun)
    from typer._click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def nouns(path: list[str], parameter: str) -> tuple[str, ...]:
    """The nouns whose names the parameter of the command `path` (`["data", "show"]`) takes."""
    if parameter != "name":
        return NAMED.get(parameter, ())
    if len(path) == 1:
        return OF_ROOT.get(path[0], ())
    noun, verb = path[0], path[-1]
    if verb in MADE and noun != "data":
        return ()
    return (noun,)


def _catalog() -> list[str]:
    from phoundry.models import catalog

    return [entry.name for entry in catalog.CATALOG]
