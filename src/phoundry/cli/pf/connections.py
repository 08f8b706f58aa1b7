"""`pf connection …`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.cli.arguments import assignments, confirm
from phoundry.cli.pf.printing import note, print_json
from phoundry.errors import InvalidInput, NotFound, UsageError

if TYPE_CHECKING:
    from phoundry.client import Client
    from phoundry.specs.connection import Connection

Values = dict[str, Any]
SHOWN = "******"


def create(values: Values) -> None:
    """Of a YAML file, or of a `.env` file, whose values are secrets of a custom connection."""
    from phoundry.client import Client
    from phoundry.specs.connection_file import read_connection

    file = Path(values["file"])
    given = assignments(values["set"], "--set")
    if not file.is_file():
        raise NotFound(f"No such file or directory: {file}.", remedy="Give the connection's file.")
    if file.name.endswith(".env"):
        if given:
            note("--set is taken without effect: a .env file has all values.")
        spec: Values = {"type": "custom", "configs": {}, "secrets": _env(file)}
    else:
        spec = read_connection(file)
        _set(spec, given)
    if values["name"]:
        spec["name"] = values["name"]
    _store(Client(), spec, given, replace=True)


def update(values: Values) -> None:
    """Change what `--set` names; the rest stays."""
    from phoundry.client import Client

    client = Client()
    client.connections.show(values["name"])  # and not an endpoint of that name
    old = client.connections.values(values["name"])
    spec: Values = {
        "name": old.name,
        "type": old.type,
        "configs": dict(old.configs),
        "secrets": dict(old.secrets),
    }
    given = assignments(values["set"], "--set")
    _set(spec, given)
    _store(client, spec, given, replace=True)


def show(values: Values) -> None:
    from phoundry.client import Client

    print_json(as_printed(Client().connections.show(values["name"])))


def list_(values: Values) -> None:
    from phoundry.client import Client

    found = [as_printed(item) for item in Client().connections.list()]
    print_json(found if values["all"] else found[: values["max"] or 50])


def delete(values: Values) -> None:
    from phoundry.client import Client

    connections = Client().connections
    confirm(f"Remove the connection '{values['name']}'?", yes=values["yes"])
    connections.delete(values["name"])


def as_printed(connection: Connection) -> Values:
    """A connection as `pf connection show` prints it: a strong-typed one has its keys on top."""
    secrets = dict.fromkeys(connection.secrets, SHOWN)
    head = {
        "name": connection.name,
        "module": "promptflow.connections",
        "created_date": connection.created_at.isoformat(),
        "last_modified_date": connection.updated_at.isoformat(),
        "type": connection.type,
    }
    if connection.type == "custom":
        return head | {"configs": dict(connection.configs), "secrets": secrets}
    return head | secrets | dict(connection.configs)


def _set(spec: Values, given: dict[str, str]) -> None:
    """Put `configs.x=…`, `secrets.x=…` or, at the top, `api_key=…` into `spec`."""
    for key, text in given.items():
        section, dot, name = key.partition(".")
        if section in ("name", "type") and not dot:
            spec[section] = text
        elif dot and section in ("configs", "secrets"):
            spec[section][name] = text
        elif not dot:
            secret = key in spec["secrets"] or key.endswith(("key", "secret", "token", "password"))
            spec["secrets" if secret else "configs"][key] = text
        else:
            raise UsageError(
                f"--set {key} names nothing of a connection.",
                remedy="Write --set configs.NAME=… or secrets.NAME=…, or the key of its type.",
            )


def _env(file: Path) -> dict[str, str]:
    """`NAME=value` lines; quotes around a value are taken off."""
    found: dict[str, str] = {}
    try:
        content = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8 (byte {error.start}).") from None
    for number, line in enumerate(content.splitlines(), start=1):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidInput(f"{file}:{number} is not of the form NAME=value.")
        value = value.strip()
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
        found[name.strip()] = value[1:-1] if quoted else value
    return found


def _store(client: Client, spec: Values, given: dict[str, str], *, replace: bool) -> None:
    from phoundry.cli.secrets import ask_placeholders
    from phoundry.client.checking import checked
    from phoundry.specs.connection import ConnectionSpec

    if any(key.startswith("secrets.") or key.endswith("key") for key in given):
        note(
            "A secret stood on the command line, where every user of this machine can read it. "
            "Better: phoundry connection create -f FILE --secret NAME"
        )
    spec["secrets"] = ask_placeholders(spec["secrets"])
    found = checked(ConnectionSpec, spec, "The connection")
    made = client.connections.replace(found) if replace else client.connections.create(found)
    print_json(as_printed(made))
