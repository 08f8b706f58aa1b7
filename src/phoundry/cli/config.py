"""`phoundry config`"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit, urlunsplit

import typer

from phoundry.cli.commands import noun, verb
from phoundry.cli.output import Format, Output, Printer
from phoundry.cli.screen import echo
from phoundry.errors import NotFound
from phoundry.settings import VARIABLES, Home, Settings, Variable

if TYPE_CHECKING:
    from phoundry.specs.care import SettingValue

app = noun("Where Phoundry keeps things, and its settings.")

# what it is called -> the attribute of `Home`, and what is there
PLACES = {
    "home": ("root", "everything below"),
    "database": ("database", "names, states, histories"),
    "blobs": ("blobs", "data, by content"),
    "mlflow": ("mlflow", "registered models"),
    "checkpoints": ("checkpoints", "base models"),
    "cache": ("cache", "what can be made again"),
    "runs": ("runs", "a folder for each job and replica"),
    "logs": ("logs", "what the control plane writes"),
    "backups": ("backups", "copies of the database"),
    "key": ("vault_key", "opens the stored secrets: keep a copy"),
}


@verb(app, "path", example="phoundry config path\ncd $(phoundry config path home)")
def path(
    name: Annotated[
        str | None, typer.Argument(help="One of them: its path and nothing else.")
    ] = None,
    output: Output = Format.table,
) -> None:
    """Print where things are kept."""
    home = Home.current()
    places = {each: Path(getattr(home, attribute)) for each, (attribute, _) in PLACES.items()}
    out = Printer(output)
    if name is None:
        width = max(map(len, places))
        told = [
            f"{each.ljust(width)}  {places[each]}  ({PLACES[each][1]})"
            + ("" if places[each].exists() else " - not made yet")
            for each in places
        ]
        out.value({each: str(place) for each, place in places.items()}, text="\n".join(told))
    elif name not in places:
        raise NotFound.named("place", name, places)
    elif out.talks:
        echo(str(places[name]))
    else:
        out.value({name: str(places[name])})


@verb(app, "show", example="phoundry config show\nphoundry config show -o json")
def show(output: Output = Format.table) -> None:
    """Show every setting, its value and where it comes from.

    Settings are variables of the environment. Any option of any command can stand in one, too:
    PHOUNDRY_<COMMAND>_<OPTION>, such as PHOUNDRY_UP_PORT or PHOUNDRY_DATA_CREATE_SEED.
    """
    found = values(os.environ)
    Printer(output).many(
        found,
        {
            "name": lambda each: each.name,
            "value": lambda each: each.value,
            "from": lambda each: each.source,
            "meaning": lambda each: each.meaning,
        },
        "",
    )


def values(environ: Mapping[str, str]) -> list[SettingValue]:
    """Every setting in force, and what else is called like one of ours. Secrets are never shown."""
    from phoundry.specs.care import SettingValue

    found = [_value(variable, environ) for variable in VARIABLES]
    known = {variable.name for variable in VARIABLES}
    found += [
        SettingValue(
            name=name,
            value=_hidden(environ[name]) if _secret(name) else environ[name],
            source="environment",
            meaning="an option of a command",
        )
        for name in sorted(environ)
        if name.startswith("PHOUNDRY_") and name not in known
    ]
    return found


def _value(variable: Variable, environ: Mapping[str, str]) -> SettingValue:
    from phoundry.specs.care import SettingValue

    text = environ.get(variable.name)
    if not text:
        default = str(Settings(environ).home) if variable.name == "PHOUNDRY_HOME" else None
        shown, source = default or variable.default, "default"
    else:
        shown, source = _hidden(text) if variable.secret else _public(text), "environment"
    return SettingValue.model_validate(
        {"name": variable.name, "value": shown, "source": source, "meaning": variable.meaning}
    )


def _secret(name: str) -> bool:
    return any(part in name for part in ("TOKEN", "SECRET", "PASSWORD", "KEY"))


def _hidden(text: str) -> str:
    return "******** (set)" if text else "-"


def _public(text: str) -> str:
    """`text` without the user and password of an address."""
    try:
        parts = urlsplit(text)
    except ValueError:  # no address
        return text
    if not parts.scheme or "@" not in parts.netloc:
        return text
    return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))
