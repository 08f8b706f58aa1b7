"""`phoundry apply` and `phoundry get`"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoundry.cli.arguments import assignments, confirm
from phoundry.cli.commands import alone
from phoundry.cli.output import Format, Output, Printer
from phoundry.cli.screen import echo

if TYPE_CHECKING:
    from phoundry.client import Client
    from phoundry.specs.documents import Document
    from phoundry.specs.plan import Outcome, Plan


class Kind(StrEnum):
    project = "project"
    data = "data"
    job = "job"
    batch = "batch"
    model = "model"
    endpoint = "endpoint"
    deployment = "deployment"
    connection = "connection"


MORE = """A project's file:
  name: permit-helper
  data: {source: faq-en.jsonl}
  model: smollm2-135m-instruct
  finetune: {num_train_epochs: 3, learning_rate: 5e-4}
  endpoint: {name: permit-helper}
  flow: chat

Azure ML's documents (data, finetuning job, model, online endpoint, online
deployment) and Prompt flow's connections are taken beside it, several to a
file with --- between them."""


@alone(
    example=(
        "phoundry apply -f phoundry.yaml\n"
        "phoundry apply -f phoundry.yaml --dry-run\n"
        "phoundry apply -f phoundry.yaml --set finetune.num_train_epochs=5 -y\n"
        "phoundry get permit-helper | phoundry apply -f - -y"
    ),
    more=MORE,
)
def apply(
    files: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", help="YAML file, folder of them, or -; else phoundry.yaml."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Write over a key: finetune.lora_r=8.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Write over the name.")] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return once what can be begun has begun.")
    ] = False,
    schema: Annotated[
        bool,
        typer.Option("--schema", help="Print the path of the JSON schema for editors, and exit."),
    ] = False,
    output: Output = Format.table,
) -> None:
    """Make what a file declares: show the plan, ask, do it.

    What is there already stays as it is: a second apply changes nothing. Changed data or
    parameters train again, and the new model is deployed at 0 % beside the live one. Interrupted
    anywhere, the same command goes on.
    """
    from phoundry.client import Client
    from phoundry.client.documents import chosen_files

    if schema:
        from phoundry.specs.schema import path

        echo(str(path()))
        return
    out, client = Printer(output), Client()
    documents = client.apply.read(
        *chosen_files(files),
        settings=assignments(settings, "--set"),
        name=name,
        stdin=sys.stdin.read,
    )
    plan = client.apply.plan(documents)
    if out.talks:
        _show(out, plan)
    if dry_run or plan.empty:
        if plan.empty:
            out.note("Nothing to do.")
        if not out.talks:
            out.value(plan.model_dump(mode="json"))
        return
    confirm("Do this?", yes=yes)
    left = carry_out(client, out, ask_secrets(client, documents), plan, wait=not no_wait)
    if not out.talks:
        found: dict[str, Any] = plan.model_dump(mode="json")
        out.value(found | {"pending": list(left), "projects": _addresses(client, documents)})
        return
    _close(client, out, documents, plan, left)


def _show(out: Printer, plan: Plan) -> None:
    from phoundry.cli.plan_text import plan_text

    echo(plan_text(plan))
    for note in plan.notes:
        out.note(f"Note: {note}")


def ask_secrets(client: Client, documents: Sequence[Document]) -> Sequence[Document]:
    """The documents with every `<user-input>` that has no value yet asked for."""
    from pydantic import SecretStr

    from phoundry.cli.secrets import ask
    from phoundry.errors import NotFound
    from phoundry.specs.connection import KEPT

    found: list[Document] = []
    for document in documents:
        if document.kind == "connection":
            try:
                known = set(client.connections.show(document.name).secrets)
            except NotFound:
                known = set[str]()
            secrets = {
                name: SecretStr(ask(name))
                if value.get_secret_value() in KEPT and name not in known
                else value
                for name, value in document.spec.secrets.items()
            }
            document = document.with_spec(secrets=secrets)
        found.append(document)
    return found


def carry_out(
    client: Client, out: Printer, documents: Sequence[Document], plan: Plan, *, wait: bool
) -> Sequence[str]:
    """Make what is declared, showing how far it is; what is left for later.

    Raises:
        PhoundryError: the failure of what failed.
        typer.Exit: 130 after Ctrl-C, which stops following and nothing else.
    """
    from phoundry.cli.progress import displayed, follow_journey

    def follow(document: Document) -> None:
        if document.kind == "project":
            follow_journey(client, document.name, out)
            return
        try:
            with displayed(out) as show:
                client.apply.wait(document, _teller(show))
                show(f"✓ {document.kind} {document.name}", None)
        except KeyboardInterrupt:
            out.note("\nWhat was begun goes on. The same command follows it again.")
            raise typer.Exit(130) from None

    return client.apply.run(documents, plan, wait=wait, follow=follow)


def _teller(show: Callable[[str, str | None], None]) -> Callable[[Outcome], None]:
    def tell(outcome: Outcome) -> None:
        show(f"▸ {outcome.kind} {outcome.name}: {outcome.message}", outcome.name)

    return tell


def _addresses(client: Client, documents: Sequence[Document]) -> list[dict[str, Any]]:
    """Where each project's model answers."""
    found: list[dict[str, Any]] = []
    for document in documents:
        if document.kind == "project":
            endpoint = client.endpoints.show(document.spec.endpoint_name)
            found.append({"name": document.name, "scoring_uri": endpoint.scoring_uri})
    return found


def _close(
    client: Client, out: Printer, documents: Sequence[Document], plan: Plan, left: Sequence[str]
) -> None:
    from phoundry.cli.up import closing

    if left:
        out.note(f"Begun, and not yet there: {', '.join(left)}.")
        out.suggest("phoundry apply … (the same command follows, and goes on)", "phoundry status")
        return
    for document in documents:
        if document.kind == "project":
            closing(client, out, client.journeys.show(document.name))
    for note in plan.notes:
        out.note(f"Note: {note}")


@alone(
    example=(
        "phoundry get permit-helper > phoundry.yaml\n"
        "phoundry get permit-helper/tuned-1 --kind deployment -o json"
    )
)
def get(
    name: Annotated[str, typer.Argument(help="A project, or any resource; ENDPOINT/DEPLOYMENT.")],
    kind: Annotated[
        Kind | None, typer.Option("--kind", "-k", help="Which, where several are called so.")
    ] = None,
    output: Output = Format.table,
) -> None:
    """Write the file that would make NAME again.

    A project where there is one, else every resource that is called so. Secrets are written as
    ${VARIABLE}, which `phoundry apply` fills in from the environment.
    """
    from phoundry.client import Client
    from phoundry.specs.yaml import dump

    documents = Client().apply.get(name, kind.value if kind else None)
    if output is Format.json:
        Printer(output).value(documents[0] if len(documents) == 1 else list(documents))
    else:
        echo("---\n".join(dump(document) for document in documents), nl=False)
