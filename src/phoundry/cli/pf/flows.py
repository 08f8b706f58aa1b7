"""`pf flow …`"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from phoundry.cli.arguments import assignments
from phoundry.cli.pf.printing import note, print_json
from phoundry.errors import Conflict, UsageError

Values = dict[str, Any]
TEMPLATES = {"standard": "python", "evaluation": "evaluation", "chat": "chat"}


def init(values: Values) -> None:
    from phoundry.client import Client

    for name in ("entry", "function", "prompt_template"):
        if values[name]:
            raise UsageError(
                f"--{name.replace('_', '-')} is not taken: flows are not made from a script.",
                remedy="For a flex flow of it: pf flow save --entry MODULE:FUNCTION",
            )
    kind = values["type"] or "standard"
    folder = Client().flows.init(values["flow"], template=TEMPLATES[kind])
    print(f"Done. Created {kind} flow folder: {folder}.")  # noqa: T201 - what scripts read
    how = "--interactive" if kind == "chat" else "--inputs NAME=VALUE"
    note(
        f"You can execute this command to test the flow, pf flow test --flow {values['flow']} {how}"
    )


def save(values: Values) -> None:
    """Write `flow.flex.yaml` beside the code, or beside a copy of it."""
    from phoundry.files import write_atomic

    code = Path(values["code"] or ".")
    if not code.is_dir():
        raise UsageError(f"{code} is no folder.", remedy="Give the folder of the code: --code DIR")
    target = Path(values["path"]) if values["path"] else code
    file = target / "flow.flex.yaml"
    if target != code and target.exists() and any(target.iterdir()):
        raise Conflict(f"{target} is not empty.", remedy="Give a folder that is new: --path DIR")
    if file.exists():
        raise Conflict(f"{file} is there already.", remedy="Change its `entry` in an editor.")
    if target.resolve() != code.resolve():
        inside = target.resolve().is_relative_to(code.resolve())
        if inside:
            raise UsageError(f"{target} is inside {code}.", remedy="Give a folder beside it.")
        shutil.copytree(code, target, dirs_exist_ok=True, ignore=_ignored)
    write_atomic(file, f"entry: {values['entry']}\n")
    print(f"Saved flow to {target.resolve()}.")  # noqa: T201


def _ignored(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name in ("__pycache__", ".git", ".promptflow")}


def test(values: Values) -> int:
    from phoundry.cli.flow_test import once
    from phoundry.cli.output import Format, Printer

    flow = Path(values["flow"])
    if values["interactive"] or values["ui"]:
        from phoundry.cli.flow_test import otherwise

        otherwise(
            flow,
            values["interactive"],
            values["connections"],
            values["environment_variables"],
            values,
        )
        return 0
    result, log = once(
        flow,
        inputs=values["inputs"],
        init=values["init"],
        node=values["node"],
        variant=values["variant"],
        connections=values["connections"],
        environment_variables=values["environment_variables"],
    )
    if values["detail"]:
        from phoundry.cli.flow_test import write_detail

        write_detail(Path(values["detail"]), result, log)
    if log.strip():
        note(log.rstrip())
    if result["status"] == "Failed":
        error: Values = result["error"] or {}
        note(f"pf.flow.test failed with {error.get('code')}: {error.get('message')}")
        return 1
    _print_output(result["output"], alone=values["node"] is not None)
    if result["metrics"]:
        Printer(Format.table).note(f"metrics: {result['metrics']}")
    return 0


def _print_output(output: Any, *, alone: bool) -> None:
    """A flow's outputs as JSON; what one node gave as it is."""
    if alone and output.keys() == {"output"}:
        output = output["output"]
    if isinstance(output, str):
        from phoundry.cli.screen import echo

        echo(output)
    else:
        print_json(output)


def validate(values: Values) -> int:
    from phoundry.client import Client

    report = Client().flows.validate(values["source"], connections=False)
    for finding in report.warnings:
        note(str(finding))
    if not report.errors:
        print_json({"result": "Succeeded"})
        return 0
    errors = {f"{item.place}": item.message for item in report.errors}
    print_json({"result": "Failed", "errors": errors})
    return 1


def serve(values: Values) -> None:
    from phoundry.cli.flow_serve import serve as serve_flow

    more: Values = {} if values["port"] is None else {"port": values["port"]}
    if values["host"]:
        more["host"] = "127.0.0.1" if values["host"] == "localhost" else values["host"]
    if values["static_folder"]:
        more["static_folder"] = Path(values["static_folder"])
    assignments(values["environment_variables"], "--environment-variables")
    serve_flow(
        Path(values["source"]),
        init=values["init"],
        environment_variables=values["environment_variables"],
        skip_open_browser=values["skip_open_browser"],
        **more,
    )


def build(values: Values) -> None:
    if values["format"] == "executable":
        raise UsageError(
            "A flow is not built into an executable file.",
            remedy="Build a folder that runs by itself: --format docker",
        )
    from phoundry.cli.flow_build import build as build_flow

    build_flow(Path(values["source"]), to=Path(values["output"]), variant=values["variant"])
