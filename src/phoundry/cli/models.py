"""`phoundry model`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phoundry.cli.commands import noun, verb
from phoundry.cli.output import Format, Output, Printer
from phoundry.errors import ModelError, from_dict

app = noun("Registered models and the catalog.")


@verb(app, "register", example="phoundry model register faq --job faq-1")
def register(
    name: Annotated[str, typer.Argument(help="Name of the model; its next version is made.")],
    job: Annotated[str | None, typer.Option(help="The completed job whose output it is.")] = None,
    path: Annotated[
        Path | None,
        typer.Option(
            help="A model trained elsewhere: a Hugging Face folder, a PEFT adapter's folder, or "
            "a .gguf file."
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="The adapter's base model; default: the one that it names."),
    ] = None,
    description: Annotated[str, typer.Option(help="Kept with the version.")] = "",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return at once.")] = False,
    output: Output = Format.table,
) -> None:
    """Register a job's model, or one trained elsewhere, in MLflow: merged, never pickle.

    The same job, or the same content, makes no second version.
    """
    from phoundry.client import Client

    out, models = Printer(output), Client().models
    model = models.register(name, job, path=path, base=base, description=description)
    reference = f"{model.name}:{model.version}"
    if not no_wait:
        out.note(f"Registering {reference} …")
        model = models.wait(reference)
        reference = f"{model.name}:{model.version}"
    if model.status == "Failed":
        raise from_dict(model.error) if model.error else ModelError(f"{reference} failed.")
    out.one(model)
    out.suggest(
        f"phoundry endpoint create {name}",
        f"phoundry deployment create blue --endpoint {name} --model {reference}",
    )


@verb(app, "list", example="phoundry model list --catalog")
def list_(
    catalog: Annotated[
        bool, typer.Option("--catalog", help="Base models that can be named instead.")
    ] = False,
    output: Output = Format.table,
) -> None:
    """List registered versions, newest first, or the catalog."""
    from phoundry.client import Client

    out, models = Printer(output), Client().models
    if catalog:
        out.many(
            models.catalog(),
            {
                "name": lambda model: model.name,
                "parameters": lambda model: f"{model.parameters / 1e6:,.0f} M",
                "context": lambda model: model.context_length,
                "licence": lambda model: model.licence,
                "source": lambda model: model.source,
            },
            "The catalog is empty.",
        )
        return
    out.many(
        models.list(),
        {
            "name": lambda model: f"{model.name}:{model.version}",
            "status": lambda model: model.status,
            "base": lambda model: model.base_model,
            "job": lambda model: model.job,
            "uri": lambda model: model.uri,
            "created": lambda model: model.created_at,
        },
        "There is no registered model yet: phoundry model register NAME --job JOB\n"
        "Base models: phoundry model list --catalog",
    )


@verb(app, "show", example="phoundry model show faq:1")
def show(
    name: Annotated[str, typer.Argument(help="NAME (its newest version) or NAME:VERSION.")],
    output: Output = Format.table,
) -> None:
    """Show a registered model, or a base model of the catalog."""
    from phoundry.client import Client
    from phoundry.errors import NotFound

    out, models = Printer(output), Client().models
    try:
        out.one(models.show(name))
    except NotFound:
        base = next((model for model in models.catalog() if model.name == name), None)
        if base is None:
            raise
        out.one(base)
