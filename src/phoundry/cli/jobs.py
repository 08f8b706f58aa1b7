"""`phoundry job`"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoundry.cli.arguments import assignments
from phoundry.cli.commands import noun, verb
from phoundry.cli.job_file import lines_told, with_assets
from phoundry.cli.output import Format, Output, Printer
from phoundry.cli.screen import echo

if TYPE_CHECKING:
    from phoundry.specs.batch import BatchJobSpec
    from phoundry.specs.job import FineTuningJobSpec

app = noun("Jobs: fine-tunes and batches.")
Name = Annotated[str, typer.Argument(help="Name of the job.")]
File = Annotated[Path, typer.Option("--file", "-f", help="Azure ML's finetuning YAML.")]
AnyFile = Annotated[
    Path | None, typer.Option("--file", "-f", help="A job's YAML: `type: finetuning` or `batch`.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key: name=v, hyperparameters.lora_r=16."),
]


@verb(
    app,
    "create",
    example=(
        "phoundry job create -f job.yaml --set learning_rate=1e-4 --stream\n"
        "phoundry job create --type batch --model faq:1 --input requests.jsonl --stream\n"
        "phoundry job create --type batch --endpoint faq --input faq:1 --set slots=8"
    ),
)
def create(
    file: AnyFile = None,
    kind: Annotated[
        str | None, typer.Option("--type", help="batch, where no file is given.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Of a batch: NAME:VERSION or folder.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Of a batch: whose model and defaults it takes.")
    ] = None,
    input_: Annotated[
        str | None, typer.Option("--input", help="Of a batch: a JSONL file or data asset.")
    ] = None,
    skip_bad: Annotated[
        int | None, typer.Option("--skip-bad", help="Of a batch: bad lines that may be errors.")
    ] = None,
    settings: Settings = None,
    stream: Annotated[bool, typer.Option("--stream", help="Follow until it ends.")] = False,
    output: Output = Format.table,
) -> None:
    """Create a job from a YAML file, or a batch from options.

    It runs in a process of its own and outlives this terminal. Data files that a fine-tune's YAML
    names become data assets. A batch answers a file of requests (OpenAI's batch lines, or
    conversations) in its order: `phoundry job download NAME` gets the answers.
    """
    from phoundry.cli.job_batch import batch_spec, is_batch
    from phoundry.cli.progress import follow_job
    from phoundry.client import Client

    out = Printer(output)
    flags = {"model": model, "endpoint": endpoint, "input": input_, "skip_bad": skip_bad}
    given = {key: value for key, value in flags.items() if value is not None}
    if is_batch(file, kind, given):
        spec: BatchJobSpec | FineTuningJobSpec = batch_spec(file, given, settings)
        client = Client()
        job = client.jobs.create(spec)
    else:
        assert file is not None  # noqa: S101 - is_batch has refused it
        client = Client()
        with lines_told(file, settings):
            spec = with_assets(client, read_job(file, settings), file.parent, out)
            job = client.jobs.create(spec)
    if stream:
        follow_job(client, job, out)
    else:
        out.one(job)
        out.suggest(f"phoundry job logs {job.name} -f", f"phoundry job show {job.name}")


@verb(app, "plan", example="phoundry job plan -f job.yaml --set pack_length=512")
def plan(file: File, settings: Settings = None, output: Output = Format.table) -> None:
    """Show what a job would take, and whether it fits. No job is created.

    Counts tokens and steps, and runs a few of them for speed and memory. Exits 1 where it does not
    fit, and says what would. Ctrl-C stops the measuring.
    """
    from phoundry.cli.job_plan import print_plan
    from phoundry.client import Client

    out, client = Printer(output), Client()
    words = ["phoundry", "job", "create", "-f", str(file)]
    words += ["--set", *settings] if settings else []
    with lines_told(file, settings):
        spec = with_assets(client, read_job(file, settings), file.parent, out)
        print_plan(client, out, spec, shlex.join(words))


@verb(app, "list", example="phoundry job list")
def list_(output: Output = Format.table) -> None:
    """List every job, newest first."""
    from phoundry.cli.progress import job_detail
    from phoundry.client import Client

    Printer(output).many(
        Client().jobs.list(),
        {
            "name": lambda job: job.name,
            "status": lambda job: job.status,
            "model": lambda job: job.model,
            "data": lambda job: job.training_data or job.input,
            "progress": job_detail,
            "created": lambda job: job.created_at,
        },
        "There is no job yet: phoundry train MODEL DATA",
    )


@verb(app, "show", example="phoundry job show faq-1 -o json")
def show(name: Name, output: Output = Format.table) -> None:
    """Show a job: status, progress, metrics, parameters, loss curve and newest answers."""
    from phoundry.cli.job_view import job_picture
    from phoundry.cli.output import sheet
    from phoundry.cli.progress import job_fields
    from phoundry.client import Client

    out, jobs = Printer(output), Client().jobs
    job = jobs.show(name)
    text = sheet(job_fields(job, whole=True))
    if out.talks:
        picture = job_picture(jobs.metrics(name), jobs.samples(name), job.progress.best_step)
        text = f"{text}\n\n{picture}" if picture else text
    out.value(job.model_dump(mode="json"), text=text)


@verb(app, "logs", example="phoundry job logs faq-1 -f")
def logs(
    name: Name,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the job ends.")] = False,
) -> None:
    """Print what a job has written. With -f until it ends: 1 unless it completed."""
    from phoundry.cli.progress import ended
    from phoundry.client import Client

    jobs = Client().jobs
    pieces = jobs.follow(name) if follow else [jobs.logs(name).text]
    for piece in pieces:
        echo(piece, nl=False)
    if follow:
        ended(jobs.show(name), Printer(Format.table))


@verb(app, "download", example="phoundry job download asked-1 --to answers")
def download(
    name: Name,
    to: Annotated[
        Path | None,
        typer.Option("--to", "--download-path", "-p", help="Folder; the job's name unless named."),
    ] = None,
    output: Output = Format.table,
) -> None:
    """Copy what a job has made so far into a folder: a batch's answers, a fine-tune's weights."""
    from phoundry.client import Client
    from phoundry.errors import NotFound

    out = Printer(output)
    copied = Client().jobs.download(name, to or Path(name))
    if not copied:
        raise NotFound(
            f"Job '{name}' has made nothing yet.", remedy=f"See `phoundry job show {name}`."
        )
    out.value([str(path) for path in copied], text="\n".join(map(str, copied)))


@verb(app, "cancel", example="phoundry job cancel faq-1")
def cancel(name: Name, output: Output = Format.table) -> None:
    """Stop a job for good. One that trains keeps the best state so far as its output."""
    from phoundry.client import Client

    Printer(output).one(Client().jobs.cancel(name))


@verb(app, "pause", example="phoundry job pause faq-1")
def pause(name: Name, output: Output = Format.table) -> None:
    """Stop a job until it is resumed. It writes a checkpoint first; the next job may begin."""
    from phoundry.client import Client

    out = Printer(output)
    out.one(Client().jobs.pause(name))
    out.suggest(f"phoundry job resume {name}")


@verb(app, "checkpoints", example="phoundry job checkpoints faq-1")
def checkpoints(name: Name, output: Output = Format.table) -> None:
    """List the states that a job can go on from."""
    from phoundry.client import Client
    from phoundry.files import in_words

    Printer(output).many(
        Client().jobs.checkpoints(name),
        {
            "step": lambda each: each.step,
            "best": lambda each: each.best,
            "size": lambda each: in_words(each.bytes),
            "written": lambda each: each.time,
        },
        f"There is no checkpoint yet: phoundry job show {name}",
    )


@verb(app, "resume", example="phoundry job resume faq-1")
def resume(name: Name, output: Output = Format.table) -> None:
    """Let a job that was paused, failed or was cancelled go on from its last checkpoint or line."""
    from phoundry.client import Client

    out = Printer(output)
    out.one(Client().jobs.resume(name))
    out.suggest(f"phoundry job logs {name} -f")


def read_job(file: Path, settings: list[str] | None) -> FineTuningJobSpec:
    """The job that `file` describes, with what `--set` overrides. All faults at once, by line."""
    from phoundry.client.checking import checked
    from phoundry.specs import yaml
    from phoundry.specs.job import FineTuningJobSpec

    spec = yaml.load(file, FineTuningJobSpec)
    if not settings:
        return spec
    written = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    overridden = override(written, assignments(settings, "--set"))
    return checked(FineTuningJobSpec, overridden, f"{file} with --set")


def override(document: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
    """`document` with `a.b=c` set at its dotted place.

    The bare name of a training parameter goes where training parameters are.
    """
    from phoundry.specs.finetune import FineTuneParameters

    result = {**document}
    if "parameters" in result:  # the other spelling of the same key
        result["hyperparameters"] = result.pop("parameters")
    for name, value in values.items():
        path = name.split(".")
        if path[0] == "parameters":
            path[0] = "hyperparameters"
        if len(path) == 1 and name in FineTuneParameters.model_fields:
            path = ["hyperparameters", name]
        target = result
        for part in path[:-1]:
            inner: Any = target.get(part)
            target[part] = {**inner} if isinstance(inner, dict) else {}
            target = target[part]
        target[path[-1]] = value
    return result
