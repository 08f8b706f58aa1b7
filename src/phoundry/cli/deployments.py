"""`phoundry deployment`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from phoundry.cli.arguments import confirm, deployment_reference
from phoundry.cli.commands import noun, verb
from phoundry.cli.output import Format, Output, Printer
from phoundry.cli.screen import echo
from phoundry.errors import ModelError, UsageError, from_dict

app = noun("Deployments: a model behind an endpoint.")
Name = Annotated[str, typer.Argument(help="NAME, or ENDPOINT/NAME.")]
InEndpoint = Annotated[
    str | None, typer.Option("--endpoint", "--endpoint-name", "-e", help="Its endpoint.")
]


@verb(
    app,
    "create",
    example=(
        "phoundry deployment create blue --endpoint faq --model faq:1\n"
        "phoundry deployment create -f blue.yaml --all-traffic"
    ),
)
def create(
    name: Annotated[str | None, typer.Argument(help="NAME, or ENDPOINT/NAME.")] = None,
    endpoint: InEndpoint = None,
    model: Annotated[
        str | None, typer.Option(help="Registered NAME:VERSION, catalog name or folder.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="llama.cpp or transformers.")] = None,
    context_length: Annotated[int | None, typer.Option(help="Tokens of a conversation.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Azure ML's deployment YAML.")
    ] = None,
    all_traffic: Annotated[
        bool, typer.Option("--all-traffic", help="Give it 100 % once it is ready.")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return at once.")] = False,
    output: Output = Format.table,
) -> None:
    """Deploy a model behind an endpoint and wait until it answers.

    An endpoint's first deployment gets all its traffic, later ones none.
    """
    from phoundry.client import Client

    if no_wait and all_traffic:
        raise UsageError("--all-traffic has to wait until the deployment is ready.")
    flags = {"model": model, "engine": engine, "context_length": context_length}
    spec = _spec(name, endpoint, file, {key: v for key, v in flags.items() if v is not None})
    out, client = Printer(output), Client()
    deployment = client.deployments.create(spec)
    where, what = deployment.endpoint_name, deployment.name
    if not no_wait:
        out.note(f"Deploying {deployment.model} as {where}/{what} …")
        deployment = client.deployments.wait(where, what)
    if deployment.provisioning_state == "Failed":
        failure = ModelError(
            f"The deployment {where}/{what} failed.",
            remedy=f"See `phoundry deployment logs {where}/{what}`.",
        )
        raise from_dict(deployment.error) if deployment.error else failure
    if all_traffic:
        others = dict.fromkeys(client.endpoints.show(where).traffic, 0)
        client.endpoints.update(where, others | {what: 100})
        deployment = client.deployments.show(where, what)
    out.one(deployment)
    for notice in deployment.notices:
        out.note(f"Note: {notice}")
    out.suggest(f"phoundry chat {where}", f"phoundry endpoint keys {where}")


def _spec(name: str | None, endpoint: str | None, file: Path | None, flags: dict[str, Any]) -> Any:
    """What a file says, with what the command line says over it."""
    from phoundry.client.checking import checked
    from phoundry.specs import yaml
    from phoundry.specs.deployment import DeploymentSpec

    values: dict[str, Any] = {}
    if file:
        spec = yaml.load(file, DeploymentSpec)
        values = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if name:
        endpoint, name = deployment_reference(name, endpoint or values.get("endpoint_name"))
        values["name"] = name
    if endpoint:
        values["endpoint_name"] = endpoint
    values |= flags
    missing = [key for key in ("name", "endpoint_name", "model") if key not in values]
    if missing:
        raise UsageError(
            f"The deployment has no {' and no '.join(missing)}.",
            remedy="Write NAME --endpoint E --model M, or -f FILE.",
        )
    return checked(DeploymentSpec, values, "The deployment")


@verb(app, "list", example="phoundry deployment list --endpoint faq")
def list_(endpoint: InEndpoint = None, output: Output = Format.table) -> None:
    """List the deployments of an endpoint, or of all."""
    from phoundry.client import Client

    client = Client()
    names = [endpoint] if endpoint else [each.name for each in client.endpoints.list()]
    found = [each for name in names for each in client.deployments.list(name)]
    Printer(output).many(
        found,
        {
            "name": lambda deployment: f"{deployment.endpoint_name}/{deployment.name}",
            "state": lambda deployment: deployment.provisioning_state,
            "traffic": lambda deployment: f"{deployment.traffic} %",
            "model": lambda deployment: deployment.model,
            "engine": lambda deployment: deployment.engine,
            "pid": lambda deployment: deployment.pid,
        },
        "There is no deployment: phoundry deployment create NAME --endpoint E --model M",
    )


@verb(app, "show", example="phoundry deployment show faq/blue")
def show(name: Name, endpoint: InEndpoint = None, output: Output = Format.table) -> None:
    """Show a deployment: state, process, memory, events."""
    from phoundry.client import Client

    where, what = deployment_reference(name, endpoint)
    Printer(output).one(Client().deployments.show(where, what))


@verb(app, "logs", example="phoundry deployment logs faq/blue -f")
def logs(
    name: Name,
    endpoint: InEndpoint = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="As it is written.")] = False,
) -> None:
    """Print what a deployment's replica has written."""
    from phoundry.client import Client

    where, what = deployment_reference(name, endpoint)
    deployments = Client().deployments
    pieces = deployments.follow(where, what) if follow else [deployments.logs(where, what).text]
    for piece in pieces:
        echo(piece, nl=False)


@verb(app, "delete", example="phoundry deployment delete faq/green -y")
def delete(
    name: Name,
    endpoint: InEndpoint = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Delete a deployment; its process ends and its memory is free."""
    from phoundry.client import Client

    where, what = deployment_reference(name, endpoint)
    confirm(f"Delete the deployment '{where}/{what}'?", yes=yes)
    Client().deployments.delete(where, what)
    Printer(Format.table).note(f"Deployment '{where}/{what}' is deleted.")
