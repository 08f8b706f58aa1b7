"""`phoundry deployment`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoundry.cli.arguments import assignments, confirm, deployment_reference, placed
from phoundry.cli.commands import noun, verb
from phoundry.cli.defaults import MaxTokens, Stop, SystemPrompt, Temperature, TopP, given
from phoundry.cli.output import Format, Output, Printer
from phoundry.cli.screen import echo
from phoundry.errors import ModelError, UsageError, from_dict

if TYPE_CHECKING:
    from phoundry.client import Client
    from phoundry.specs.deployment import Deployment

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
        "phoundry deployment create -f blue.yaml --all-traffic\n"
        "phoundry deployment create faq/terse --model faq:1 --system-prompt 'Be brief.' "
        "--max-tokens 80\n"
        "phoundry deployment create faq/small --model faq:1 --quantization Q4_0"
    ),
)
def create(
    name: Annotated[str | None, typer.Argument(help="NAME, or ENDPOINT/NAME.")] = None,
    endpoint: InEndpoint = None,
    model: Annotated[
        str | None, typer.Option(help="Registered NAME:VERSION, catalog name or folder.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="llama.cpp or transformers.")] = None,
    quantization: Annotated[
        str | None,
        typer.Option(
            help="Q8_0 (unless named), Q5_1, Q4_0, F16, BF16 or F32, of llama.cpp's GGUF."
        ),
    ] = None,
    context_length: Annotated[int | None, typer.Option(help="Tokens of a conversation.")] = None,
    system_prompt: SystemPrompt = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: MaxTokens = None,
    stop: Stop = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Azure ML's deployment YAML.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Write over a key: defaults.temperature=0.7."),
    ] = None,
    all_traffic: Annotated[
        bool, typer.Option("--all-traffic", help="Give it 100 % once it is ready.")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return at once.")] = False,
    output: Output = Format.table,
) -> None:
    """Deploy a model behind an endpoint and wait until it answers.

    An endpoint's first deployment gets all its traffic, later ones none. The system prompt, the
    temperature and the like are defaults: what a request says itself always wins.
    """
    from phoundry.client import Client

    if no_wait and all_traffic:
        raise UsageError("--all-traffic has to wait until the deployment is ready.")
    flags = {
        "model": model,
        "engine": engine,
        "quantization": quantization,
        "context_length": context_length,
    }
    defaults = given(system_prompt, temperature, top_p, max_tokens, stop)
    flags = {key: value for key, value in flags.items() if value is not None}
    spec = _spec(name, endpoint, file, flags, defaults, assignments(settings, "--set"))
    out, client = Printer(output), Client()
    deployment = client.deployments.create(spec)
    where, what = deployment.endpoint_name, deployment.name
    if not no_wait:
        deployment = _wait(client, out, deployment)
    _check(deployment)
    if all_traffic:
        others = dict.fromkeys(client.endpoints.show(where).traffic, 0)
        client.endpoints.update(where, others | {what: 100})
        deployment = client.deployments.show(where, what)
    out.one(deployment)
    for notice in deployment.notices:
        out.note(f"Note: {notice}")
    out.suggest(f"phoundry chat {where}", f"phoundry endpoint keys {where}")


def _wait(client: Client, out: Printer, begun: Deployment) -> Deployment:
    """The deployment once it answers or has failed; meanwhile tell how far its model has come."""
    from phoundry.cli.progress import displayed, prepared

    where, what = begun.endpoint_name, begun.name
    out.note(f"Deploying {begun.model} as {where}/{what} …")
    with displayed(out) as show:
        return client.deployments.wait(
            where, what, lambda found: show(prepared("Deploying", found.preparation), "deploying")
        )


def _check(deployment: Deployment) -> None:
    """Raise the reason why a deployment failed, if it did."""
    if deployment.provisioning_state == "Failed":
        name = f"{deployment.endpoint_name}/{deployment.name}"
        failure = ModelError(
            f"The deployment {name} failed.", remedy=f"See `phoundry deployment logs {name}`."
        )
        raise from_dict(deployment.error) if deployment.error else failure


def _spec(
    name: str | None,
    endpoint: str | None,
    file: Path | None,
    flags: dict[str, Any],
    defaults: dict[str, Any],
    settings: dict[str, str],
) -> Any:
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
    if defaults:
        values["defaults"] = values.get("defaults", {}) | defaults
    values = placed(values, settings)
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


@verb(
    app,
    "update",
    example=(
        "phoundry deployment update faq/blue --temperature 0.7 --max-tokens 200\n"
        "phoundry deployment update faq/blue --unset system_prompt"
    ),
)
def update(
    name: Name,
    endpoint: InEndpoint = None,
    system_prompt: SystemPrompt = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: MaxTokens = None,
    stop: Stop = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", help="Take a default back, by its name.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    output: Output = Format.table,
) -> None:
    """Change a deployment's defaults while it serves.

    The next request is answered under them. Nothing is restarted and no request is dropped; one
    that is being answered keeps the old ones.
    """
    from phoundry.client import Client
    from phoundry.client.checking import checked
    from phoundry.specs.deployment import DeploymentUpdate

    where, what = deployment_reference(name, endpoint)
    defaults = dict.fromkeys(unset or []) | given(
        system_prompt, temperature, top_p, max_tokens, stop
    )
    if defaults.get("stop", ()) is None:
        defaults["stop"] = []
    change: dict[str, Any] = {"defaults": defaults} if defaults else {}
    if description is not None:
        change["description"] = description
    if not change:
        raise UsageError("Nothing is to be changed.", remedy="See the options with --help.")
    spec = checked(DeploymentUpdate, change, "The change")
    Printer(output).one(Client().deployments.update(where, what, spec))


@verb(app, "retry", example="phoundry deployment retry faq/blue")
def retry(
    name: Name,
    endpoint: InEndpoint = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return at once.")] = False,
    output: Output = Format.table,
) -> None:
    """Let a failed deployment try again, with the traffic that it has."""
    from phoundry.client import Client

    where, what = deployment_reference(name, endpoint)
    out, client = Printer(output), Client()
    deployment = client.deployments.retry(where, what)
    if not no_wait:
        deployment = _wait(client, out, deployment)
    _check(deployment)
    out.one(deployment)


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
