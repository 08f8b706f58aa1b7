"""`phoundry model`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phoundry.cli.commands import noun, verb
from phoundry.cli.output import Format, Output, Printer
from phoundry.errors import ModelError, UsageError, from_dict

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
    from phoundry.cli.progress import displayed, prepared
    from phoundry.client import Client

    if (job is None) == (path is None):
        raise UsageError(
            "Found neither --job nor --path." if job is None else "Found both --job and --path.",
            remedy="--job JOB: what was trained here; --path PATH: a model trained elsewhere.",
        )
    out, models = Printer(output), Client().models
    model = models.register(name, job, path=path, base=base, description=description)
    reference = f"{model.name}:{model.version}"
    if not no_wait:
        out.note(f"Registering {reference} …")
        with displayed(out) as show:
            model = models.wait(
                reference,
                lambda model: show(prepared("Registering", model.preparation), "registering"),
            )
        reference = f"{model.name}:{model.version}"
    if model.status == "Failed":
        raise from_dict(model.error) if model.error else ModelError(f"{reference} failed.")
    out.one(model)
    out.suggest(
        f"phoundry endpoint create {name}",
        f"phoundry deployment create blue --endpoint {name} --model {reference}",
    )


@verb(
    app,
    "list",
    example="phoundry model list\nphoundry model list qwen\nphoundry model list --registered",
)
def list_(
    search: Annotated[
        list[str] | None,
        typer.Argument(help="Words of a name, hub id, alias, family, licence or base model."),
    ] = None,
    catalog: Annotated[
        bool, typer.Option("--catalog", help="Only base models that can be named.")
    ] = False,
    registered: Annotated[
        bool, typer.Option("--registered", help="Only registered versions.")
    ] = False,
    output: Output = Format.table,
) -> None:
    """List registered versions, newest first, and the catalog of base models.

    TRAIN and SERVE say whether this machine's memory is enough for LoRA and for an endpoint: yes,
    tight (with what must be freed), or no (with what is missing).
    """
    from phoundry.cli.model_views import listed
    from phoundry.client import Client

    if catalog and registered:
        catalog = registered = False
    listed(
        Printer(output),
        Client().models,
        " ".join(search or []),
        versions=not catalog,
        bases=not registered,
    )


@verb(
    app,
    "show",
    example="phoundry model show faq:1\nphoundry model show phi-3\n"
    "phoundry model show ./model.gguf --context-length 8192",
)
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="NAME or NAME:VERSION of a registered model, a name of the catalog, ORG/NAME of "
            "a hub, a folder or a .gguf file."
        ),
    ],
    max_seq_length: Annotated[
        int | None, typer.Option(help="Tokens of a row that training is estimated for.")
    ] = None,
    context_length: Annotated[
        int | None, typer.Option(help="Tokens of a conversation that serving is estimated for.")
    ] = None,
    output: Output = Format.table,
) -> None:
    """Show a registered model, or a base model: its facts, and whether this machine has room."""
    from phoundry.cli.model_views import sheet_of
    from phoundry.client import Client
    from phoundry.errors import NotFound

    out, models = Printer(output), Client().models
    lengths = {"max_seq_length": max_seq_length, "context_length": context_length}
    if not any(lengths.values()):
        try:
            out.one(models.show(name))
        except NotFound:
            pass  # then it is a base model, or its error names what comes near
        else:
            return
    base = models.base(name, **lengths)
    out.value(base.model_dump(mode="json"), sheet_of(base))
    if base.usable and base.needs and base.needs.train_lora.fits != "no":
        out.suggest(f"phoundry train {name} DATA")


@verb(
    app,
    "export",
    example="phoundry model export faq:1 --out faq.gguf --quantization Q4_0\n"
    "phoundry model export faq:1 --out ./faq",
)
def export(
    name: Annotated[
        str,
        typer.Argument(
            help="NAME or NAME:VERSION of a registered model, a name of the catalog, ORG/NAME of "
            "a hub, or a folder."
        ),
    ],
    out_: Annotated[
        Path,
        typer.Option("--out", help="A new folder, or a new file whose name ends in .gguf."),
    ],
    quantization: Annotated[
        str | None,
        typer.Option(help="Kind of a .gguf: Q8_0 (default), Q5_1, Q4_0, F16, BF16 or F32."),
    ] = None,
    output: Output = Format.table,
) -> None:
    """Copy a model out: a Hugging Face folder, or a GGUF for llama.cpp, Ollama or LM Studio.

    A GGUF is compared with the model before it is handed out, as for a deployment.
    """
    from phoundry.cli.progress import displayed, prepared
    from phoundry.client import Client
    from phoundry.specs.quantization import DEFAULT, quantization_named

    single = out_.suffix.lower() == ".gguf"
    if quantization and not single:
        raise UsageError(
            f"--quantization {quantization} is for a GGUF; {out_} is to be a folder.",
            remedy=f"Name a file: --out {out_}.gguf.",
        )
    kind = quantization_named(quantization or DEFAULT) if single else None
    out = Printer(output)
    with displayed(out) as show:
        found = Client().models.export(
            name,
            out_,
            quantization=kind,
            on_change=lambda files: show(prepared("Exporting", files.preparation), "exporting"),
        )
    out.one(found.model_copy(update={"path": str(out_), "preparation": None}))


@verb(
    app,
    "benchmark",
    example="phoundry model benchmark faq:1\n"
    "phoundry model benchmark phi-3 --quantization Q4_0 --again",
)
def benchmark(
    name: Annotated[
        str,
        typer.Argument(
            help="NAME or NAME:VERSION of a registered model, a name of the catalog, ORG/NAME of "
            "a hub, or a folder."
        ),
    ],
    quantization: Annotated[
        str | None, typer.Option(help="Kind of the GGUF: Q8_0 (default), Q5_1, Q4_0, F16 or F32.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure what was measured.")] = False,
    output: Output = Format.table,
) -> None:
    """Measure how fast the engines on this machine serve a model, and remember it.

    One conversation, four, and as many as a deployment decodes together. A deployment that is
    created or updated with `--engine auto` takes the fastest. Measure while little else runs.
    """
    from phoundry.cli.progress import displayed, prepared
    from phoundry.client import Client
    from phoundry.specs.quantization import quantization_named

    out = Printer(output)
    with displayed(out) as show:
        found = Client().models.benchmark(
            name,
            quantization=quantization_named(quantization) if quantization else None,
            again=again,
            on_change=lambda speeds: show(prepared("Measuring", speeds.preparation), "measuring"),
        )
    out.one(found.model_copy(update={"preparation": None}))
