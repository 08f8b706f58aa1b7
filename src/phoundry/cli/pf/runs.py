"""`pf run …`. What is printed has the keys that Prompt flow prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.cli.arguments import confirm
from phoundry.cli.flow_run_options import described
from phoundry.cli.pf.printing import note, print_json, print_table
from phoundry.errors import UsageError

if TYPE_CHECKING:
    from phoundry.specs.flow_run import FlowRun

Values = dict[str, Any]
KEPT = (
    "flow", "data", "column_mapping", "run", "name", "variant", "connections",
    "environment_variables", "init", "resume_from",
)  # fmt: skip


def create(values: Values) -> int:
    """Exit code 1 when a line failed; Prompt flow's was 0."""
    from phoundry.cli.flow_run_options import spec_of
    from phoundry.cli.flow_run_view import followed
    from phoundry.cli.output import Format, Printer
    from phoundry.client import Client

    if values["source"]:
        from phoundry.cli.flow_run_source import taken_in

        given = [key for key in (*KEPT, "file") if key != "name" and values[key] not in (None, [])]
        print_json(as_printed(taken_in(values["source"], values["name"], values["set"], given)))
        return 0
    given = {key: values[key] for key in KEPT if values[key] not in (None, [])}
    spec = spec_of(Path(values["file"]) if values["file"] else None, given, values["set"])
    runs = Client().runs
    with followed(Printer(Format.table), "Running") as tell:
        run = runs.create(spec, on_progress=tell)
    if values["stream"]:
        stream({"name": run.name})
    print_json(as_printed(run))
    if run.failed:
        lines = run.lines
        note(f"{lines.failed} of {lines.total} lines failed: pf run show-details -n {run.name}")
    return 1 if run.failed else 0


def as_printed(run: FlowRun) -> Values:
    """A run as `pf run show` prints it; a flow in a folder is told by its folder."""
    file = Path(run.flow)
    flow = file.parent if file.name.startswith("flow.") else file
    return {
        "name": run.name,
        "created_on": run.created.isoformat(),
        "status": run.status,
        "display_name": run.display_name or run.name,
        "description": run.description or None,
        "tags": run.tags or None,
        "properties": {
            "flow_path": str(flow),
            "output_path": run.output,
            "column_mapping": run.column_mapping or None,
            **({"variant": run.variant} if run.variant else {}),
            "system_metrics": {"duration": run.seconds},
        },
        "flow_name": flow.name,
        "data": run.data,
        "output": str(Path(run.output) / "flow_outputs"),
        **({"run": run.run} if run.run else {}),
        **({"error": run.error} if run.error else {}),
    }


def update(values: Values) -> None:
    from phoundry.client import Client

    runs = Client().runs
    plain, tags = described(values["set"])
    name = values["name"]
    merged = {**runs.show(name).tags, **tags} if tags else None
    print_json(as_printed(runs.update(name, **plain, tags=merged)))


def stream(values: Values) -> None:
    """What the run printed, and a summary of it."""
    from phoundry.cli.screen import echo
    from phoundry.client import Client

    run = Client().runs.show(values["name"])
    log = Path(run.output) / "logs.txt"
    if log.exists():
        echo(log.read_text(encoding="utf-8", errors="replace").rstrip())
    echo("======= Run Summary =======\n")
    echo(f'Run name: "{run.name}"\nRun status: "{run.status}"')
    echo(f'Start time: "{run.created}"\nDuration: "{run.seconds:.3f}"')
    echo(f'Output path: "{run.output}"\n')


def list_(values: Values) -> None:
    from phoundry.client import Client

    limit = None if values["all"] else values["max"] or 50
    runs = Client().runs.list(
        limit=limit, archived=values["archived"], everything=values["with_archived"]
    )
    shown = [as_printed(run) for run in runs]
    if values["output"] == "table":
        print_table(shown)
    else:
        print_json(shown)


def show(values: Values) -> None:
    from phoundry.client import Client

    print_json(as_printed(Client().runs.show(values["name"])))


def show_details(values: Values) -> None:
    from phoundry.client import Client

    limit = None if values["all"] else values["max"] or 100
    rows = Client().runs.details(values["name"], limit=limit)
    print_table([_flat(row) for row in rows])


def _flat(row: Values) -> Values:
    inputs: Values = row["inputs"]
    outputs: Values = row["outputs"]
    flat: Values = {f"inputs.{key}": value for key, value in inputs.items()}
    flat["inputs.line_number"] = row["line_number"]
    flat |= {f"outputs.{key}": value for key, value in outputs.items()}
    error: Values = row["error"] or {}
    return flat | {"error": error.get("message")} if error else flat


def show_metrics(values: Values) -> None:
    from phoundry.client import Client

    print_json(dict(Client().runs.metrics(values["name"])))


def visualize(values: Values) -> None:
    from phoundry.cli.screen import echo
    from phoundry.client import Client

    names = [name.strip() for name in values["names"].split(",") if name.strip()]
    if not names:
        raise UsageError("No run is named.", remedy="Write the names of runs: --names a,b")
    runs = Client().runs
    folder = Path(runs.show(names[0]).output)
    target = Path(values["html_path"]) if values["html_path"] else folder / "report.html"
    echo(f"The HTML file is generated at {str(runs.visualize(names, target).absolute())!r}.")


def archive(values: Values) -> None:
    from phoundry.client import Client

    print_json(as_printed(Client().runs.archive(values["name"])))


def restore(values: Values) -> None:
    from phoundry.client import Client

    print_json(as_printed(Client().runs.restore(values["name"])))


def delete(values: Values) -> None:
    from phoundry.client import Client

    runs = Client().runs
    runs.show(values["name"])
    confirm(f"Remove the run '{values['name']}' and its files?", yes=values["yes"])
    runs.delete(values["name"])
