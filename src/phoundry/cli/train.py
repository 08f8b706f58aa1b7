"""`phoundry train`"""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import typer

from phoundry.cli.arguments import assignments
from phoundry.cli.commands import alone
from phoundry.cli.output import Format, Output, Printer


def parameter_help() -> str:
    """Every training parameter with its default, its range and what it means."""
    from phoundry.specs.finetune import FineTuneParameters

    properties: dict[str, Any] = FineTuneParameters.model_json_schema()["properties"]
    lines = [_parameter_line(name, schema) for name, schema in properties.items()]
    return "Parameters (--set name=value):\n" + "\n".join(lines)


def _parameter_line(name: str, schema: dict[str, Any]) -> str:
    default = schema["default"]
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    signs = {
        "exclusiveMinimum": "> {}",
        "minimum": "≥ {}",
        "exclusiveMaximum": "< {}",
        "maximum": "≤ {}",
    }
    limits = ", ".join(sign.format(schema[key]) for key, sign in signs.items() if key in schema)
    choices = " | ".join(schema.get("enum", []))
    notes = "; ".join(note for note in (choices or limits, schema.get("description", "")) if note)
    return f"  {name} = {shown}" + (f"  ({notes})" if notes else "")


@alone(
    example=(
        "phoundry train smollm2-135m-instruct faq\n"
        "phoundry train smollm2-135m-instruct faq:2 --set apply_lora=true learning_rate=5e-4"
    ),
    more=parameter_help(),
)
def train(
    model: Annotated[str, typer.Argument(help="Catalog name, registered model or folder.")],
    data: Annotated[str, typer.Argument(help="Data asset, NAME or NAME:VERSION.")],
    validation: Annotated[
        str | None, typer.Option(help="Another asset to evaluate on; else DATA's test split.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A training parameter, name=value.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Name of the job.")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return at once.")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what it would take, and start nothing.")
    ] = False,
    output: Output = Format.table,
) -> None:
    """Fine-tune MODEL on the data asset DATA.

    Follows the job until it ends. Ctrl-C stops following, not the job.
    """
    from phoundry.cli.progress import follow_job
    from phoundry.client import Client
    from phoundry.client.checking import checked
    from phoundry.specs.job import FineTuningJobSpec

    out, client = Printer(output), Client()
    values: dict[str, Any] = {
        "model": model,
        "training_data": data,
        "hyperparameters": assignments(settings, "--set"),
    }
    values |= {"validation_data": validation} if validation else {}
    values |= {"name": name} if name else {}
    spec = checked(FineTuningJobSpec, values, "The job")
    if plan:
        from phoundry.cli.job_plan import print_plan

        options = {"--validation": validation, "--name": name}
        given = [word for option, value in options.items() if value for word in (option, value)]
        given += ["--set", *settings] if settings else []
        print_plan(client, out, spec, shlex.join(["phoundry", "train", model, data, *given]))
        return
    job = client.jobs.create(spec)
    if detach:
        out.one(job)
        out.suggest(f"phoundry job logs {job.name} -f", f"phoundry job show {job.name}")
    else:
        follow_job(client, job, out)
