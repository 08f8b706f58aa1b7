"""A folder from which a flow is served by itself, on any machine with Python or Docker.

flow/                the flow's files, with what it includes
connections/*.yaml   its connections; a secret is `${env:NAME}`
init.json            the arguments of a flex flow's class, where some were given
settings.json        every variable that must be set, {"NAME": ""}
requirements.txt     what is installed
start.sh             serves it
README.md            how
Dockerfile, .dockerignore
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Literal, TypeVar

from phoundry.errors import Conflict
from phoundry.files import atomic_folder, write_atomic
from phoundry.flows.model import Flow
from phoundry.flows.prepare import Connections
from phoundry.serving.flow.arguments import check_kept
from phoundry.serving.flow.copying import copy_flow
from phoundry.specs import yaml
from phoundry.version import __version__

Format = Literal["docker", "folder"]
Name = TypeVar("Name", str, tuple[str, str])
FILES = Path(__file__).with_name("build_files")
KEY = "PHOUNDRY_FLOW_KEY"
INIT = "init.json"
# Answered for by Phoundry itself while a flow runs.
_PROVIDED = re.compile(r"promptflow(-(core|devkit|tracing|azure))?(?![\w.-])", re.IGNORECASE)
_ENVIRONMENT = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(:-[^{}]*)?\}")
_HERE = re.compile(r"//(localhost|127\.0\.0\.1|\[::1\])[:/]")


@dataclass(frozen=True, slots=True)
class Built:
    """`variables` must be set where the folder runs; `notices` are for whoever moves it there."""

    path: Path
    variables: list[str]
    connections: list[str]
    notices: list[str]


def build(
    flow: Flow,
    connections: Connections,
    output: Path,
    *,
    kind: Format,
    variant: str | None = None,
    init: Mapping[str, Any] | None = None,
) -> Built:
    """Write the folder `output`, whole or not at all. No secret's value goes into it. `init` are
    the arguments of a flex flow's class.

    Raises:
        Conflict: `output` is there and holds something.
        UsageError: `init` of a flow that takes none, or with a secret.
    """
    check_kept(flow, init or {})
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise Conflict(
            f"{output} is there already, and not empty.", remedy="Name a new or empty folder."
        )
    with atomic_folder(output) as folder:
        copy_flow(flow, folder / "flow")
        names = variables_of(connections.values)
        files = _apart({name: name.replace(":", "-") for name in connections.values})
        for name, values in connections.values.items():
            file = folder / "connections" / f"{files[name]}.yaml"
            write_atomic(file, yaml.dump(_connection(values, names)))
        variables = dict.fromkeys([*names.values(), *_read_by(folder / "flow")])
        needed = [*variables, KEY]
        settings = json.dumps(dict.fromkeys(needed, ""), indent=2)
        write_atomic(folder / "settings.json", settings + "\n")
        write_atomic(folder / "requirements.txt", _requirements(folder / "flow"))
        (folder / "connections").mkdir(exist_ok=True)
        if init:
            text = json.dumps(dict(init), ensure_ascii=False, indent=2)
            write_atomic(folder / INIT, text + "\n")
        arguments = _arguments(flow, connections, variant, INIT if init else None)
        _scripts(folder, flow, kind, arguments, list(variables))
    return Built(output, needed, sorted(connections.values), _notices(connections))


def variable_of(connection: str, key: str) -> str:
    """The variable for a secret of a connection, such as `OPEN_AI_CONNECTION_API_KEY`."""
    name = re.sub(r"\W", "_", f"{connection}_{key}", flags=re.ASCII).upper()
    return f"_{name}" if name[0].isdigit() else name


def variables_of(connections: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """The variable of each secret, by connection and key. Where two would have the same, as of
    `a-b` and `a_b`, the later in the alphabet has a number."""
    wanted = {
        (name, key): variable_of(name, key)
        for name, values in connections.items()
        for key in values.get("secrets", {})
    }
    return _apart(wanted, KEY, "_")


def _apart(wanted: Mapping[Name, str], taken: str = "", joint: str = "-") -> dict[Name, str]:
    """`wanted`, in its order, without doubles, whatever the case: `a`, `a-2`, `a-3`."""
    used, found = {taken.lower()}, dict(wanted)
    for name in sorted(wanted):
        number, text = 1, wanted[name]
        while text.lower() in used:
            number += 1
            text = f"{wanted[name]}{joint}{number}"
        used.add(text.lower())
        found[name] = text
    return found


def _connection(
    values: Mapping[str, Any], variables: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    name = values["name"]
    secrets = {key: f"${{env:{variables[name, key]}}}" for key in values.get("secrets", {})}
    document: dict[str, Any] = {"name": name, "type": values["type"]}
    if values.get("configs"):
        document["configs"] = dict(values["configs"])
    return document | ({"secrets": secrets} if secrets else {})


def _read_by(folder: Path) -> list[str]:
    """Variables that the flow's own YAML reads and gives no default for."""
    found: list[str] = []
    for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml"), *folder.glob("*.prompty")]):
        text = file.read_text(encoding="utf-8", errors="replace")
        found += [match[1] for match in _ENVIRONMENT.finditer(text) if not match[2]]
    return found


def _requirements(folder: Path) -> str:
    lines = [f"phoundry[flow]=={__version__}"]
    file = folder / "requirements.txt"
    if file.is_file():
        lines.append("# The flow's own:")
        for line in file.read_text(encoding="utf-8").splitlines():
            provided = _PROVIDED.match(line.strip())
            lines.append(f"# {line}   (Phoundry stands in for it)" if provided else line)
    return "\n".join(lines) + "\n"


def _arguments(flow: Flow, connections: Connections, variant: str | None, init: str | None) -> str:
    words = ["flow/" + flow.file.name, "--connections-dir", "connections"]
    for place, name in sorted({**connections.chosen, **connections.overrides}.items()):
        words += ["--connections", f"{place}={name}"]
    if variant:
        words += ["--variant", variant]
    if init:
        words += ["--init", init]
    return shlex.join(words)


def _scripts(folder: Path, flow: Flow, kind: Format, arguments: str, variables: list[str]) -> None:
    name = re.sub(r"[^a-z0-9._-]+", "-", flow.root.resolve().name.lower()).strip("-._") or "flow"
    words = {
        "name": name,
        "arguments": arguments,
        "key": KEY,
        "variables": "\n".join(f"- `{each}`" for each in variables) or "None besides the key.",
        "exports": "\n".join(f"export {each}=…" for each in variables),
        "passed": " ".join(f"-e {each}" for each in [*variables, KEY]),
    }
    files = {"start.sh": "start.sh", "README.md": f"README.{kind}.md"}
    if kind == "docker":
        files |= {"Dockerfile": "Dockerfile", ".dockerignore": "dockerignore"}
    for target, source in files.items():
        text = Template((FILES / source).read_text(encoding="utf-8")).substitute(words)
        mode = 0o755 if target == "start.sh" else 0o644
        write_atomic(folder / target, text, mode=mode)


def _notices(connections: Connections) -> list[str]:
    found: list[str] = []
    for name, values in sorted(connections.values.items()):
        for key, text in {**values.get("configs", {}), **values.get("secrets", {})}.items():
            if _HERE.search(str(text)):
                found.append(
                    f"'{key}' of the connection '{name}' leads to this machine; from a container "
                    "or another machine it must be another address."
                )
    return found
