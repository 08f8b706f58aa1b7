"""`pf config`, `pf tool`, `pf service`, `pf upgrade`: what is kept, and what is not needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phoundry.cli.arguments import assignments, placed
from phoundry.cli.pf.printing import note, print_json

Values = dict[str, Any]
# What settings of Prompt flow mean here.
MEANINGS = {
    "telemetry": "Phoundry sends no telemetry at all",
    "connection": "connections are those of this home",
    "trace": "traces stay on this machine; `phoundry trace` shows and exports them",
    "run": "runs are kept under this home",
}


def set_(values: Values) -> None:
    """Keep settings so that scripts find them again; none of them has an effect."""
    from phoundry.files import write_atomic

    given = assignments(values["set"], "config set")
    file = _file()
    write_atomic(file, json.dumps(placed(_kept(file), given), indent=2) + "\n")
    for name in given:
        told = MEANINGS.get(
            name.partition(".")[0], "Phoundry has its own settings: phoundry config"
        )
        note(f"{name} is kept without effect: {told}.")
    print(f"Set config {[{key: value} for key, value in given.items()]} successfully.")  # noqa: T201


def show(values: Values) -> None:
    print_json(_kept(_file()))


def tools(values: Values) -> None:
    """The tools of installed packages (entry points), and of a flow's files."""
    code: dict[str, Any] = {}
    if values["flow"]:
        from phoundry.flows import load_flow

        flow = load_flow(values["flow"])
        for node in flow.nodes:
            signature = flow.signatures.get(node.name)
            if node.source and node.source.path:
                inputs = signature.parameters.values() if signature else ()
                code[node.source.path] = {
                    "type": node.type,
                    "inputs": {item.name: {"type": [item.kind]} for item in inputs},
                }
    print_json({"package": {}, "code": code})


def service(values: Values) -> None:
    note("There is no service to start or stop: flows run without one.")


def upgrade(values: Values) -> None:
    note("Phoundry is upgraded by your package manager: pip install --upgrade phoundry")


def version(values: Values) -> None:
    from phoundry import __version__

    print_json({"phoundry": __version__})


def _file() -> Path:
    from phoundry.settings import Home

    return Home.current().root / "pf.json"


def _kept(file: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): item for key, item in found.items()} if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
