"""`phoundry deployment`"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from phoundry.cli import deployment_data
from phoundry.cli.arguments import assignments, confirm, deployment_reference
from phoundry.cli.commands import noun, verb
from phoundry.cli.defaults import MaxTokens, Stop, SystemPrompt, Temperature, TopP, given
from phoundry.cli.deployment_options import (
    Adapter,
    Connections,
    ContextLength,
    Engine,
    File,
    Flow,
    Gate,
    Init,
    InstanceCount,
    Model,
    Quantization,
    Settings,
    changed,
    described,
)
from phoundry.cli.deployment_sheet import print_deployment, serving
from phoundry.cli.deployment_waiting import awaited, check, in_force
from phoundry.cli.flow_inputs import read_inputs
from phoundry.cli.output import Format, Output, Printer
from phoundry.cli.screen import echo
from phoundry.errors import UsageError

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
        "phoundry deployment create chat/blue --flow ./my-flow\n"
        "phoundry deployment create faq/terse --model faq:1 --system-prompt 'Be brief.' "
        "--max-tokens 80\n"
        "phoundry deployment create faq/small --model faq:1 --quantization Q4_0 --instance-count 2"
    ),
)
def create(
    name: Annotated[str | None, typer.Argument(help="NAME, or ENDPOINT/NAME.")] = None,
    endpoint: InEndpoint = None,
    model: Model = None,
    flow: Flow = None,
    connections: Connections = None,
    init: Init = None,
    engine: Engine = None,
    quantization: Quantization = None,
    adapter: Adapter = None,
    context_length: ContextLength = None,
    instance_count: InstanceCount = None,
    system_prompt: SystemPrompt = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: MaxTokens = None,
    stop: Stop = None,
    gate: Gate = None,
    file: File = None,
    settings: Settings = None,
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
        "flow": flow,
        "connections": assignments(connections, "--connections"),
        "init": read_inputs(init or [], "--init"),
        "engine": engine,
        "quantization": quantization,
        "adapter": adapter,
        "context_length": context_length,
        "instance_count": instance_count,
        "gate": gate,
        "defaults": given(system_prompt, temperature, top_p, max_tokens, stop),
    }
    spec = described(name, endpoint, file, flags, assignments(settings, "--set"))
    out, client = Printer(output), Client()
    deployment = client.deployments.create(spec)
    where, what = deployment.endpoint_name, deployment.name
    if not no_wait:
        deployment = awaited(client, out, deployment)
    check(deployment)
    if all_traffic:
        others = dict.fromkeys(client.endpoints.show(where).traffic, 0)
        client.endpoints.update(where, others | {what: 100})
        deployment = client.deployments.show(where, what)
    print_deployment(out, deployment)
    talks = [] if deployment.engine == "flow" else [f"phoundry chat {where}"]
    out.suggest(*talks, f"phoundry endpoint keys {where}")


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
            "replicas": serving,
        },
        "There is no deployment: phoundry deployment create NAME --endpoint E --model M",
    )


@verb(
    app,
    "show",
    example="phoundry deployment show faq/blue\nphoundry deployment show faq/blue --parity",
)
def show(
    name: Name,
    endpoint: InEndpoint = None,
    parity: Annotated[
        bool,
        typer.Option("--parity", help="What the deploy gate found: where it and the model part."),
    ] = False,
    output: Output = Format.table,
) -> None:
    """Show a deployment: state, replicas, memory, events."""
    from phoundry.client import Client

    where, what = deployment_reference(name, endpoint)
    if parity:
        found = Client().deployments.parity(where, what)
        Printer(output).value(found.model_dump(mode="json"), "\n".join(found.lines()))
        return
    print_deployment(Printer(output), Client().deployments.show(where, what))


@verb(
    app,
    "update",
    example=(
        "phoundry deployment update faq/blue --temperature 0.7 --max-tokens 200\n"
        "phoundry deployment update faq/blue --unset system_prompt\n"
        "phoundry deployment update faq/blue --model faq:2\n"
        "phoundry deployment update faq/blue --instance-count 3\n"
        "phoundry deployment update -f blue.yaml\n"
        "phoundry deployment update faq/blue --rollback"
    ),
)
def update(
    name: Annotated[str | None, typer.Argument(help="NAME, or ENDPOINT/NAME.")] = None,
    endpoint: InEndpoint = None,
    model: Model = None,
    flow: Flow = None,
    connections: Connections = None,
    init: Init = None,
    engine: Engine = None,
    quantization: Quantization = None,
    adapter: Adapter = None,
    context_length: ContextLength = None,
    instance_count: InstanceCount = None,
    system_prompt: SystemPrompt = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: MaxTokens = None,
    stop: Stop = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", help="Take a default back, by its name.")
    ] = None,
    gate: Gate = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    file: File = None,
    settings: Settings = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the revision before; nothing else.")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return at once.")] = False,
    output: Output = Format.table,
) -> None:
    """Change a deployment while it serves; no request is dropped.

    Another model, engine, quantization, adapter or context is a new revision: its replicas start
    beside those that serve, get requests once they are ready, and the old ones end when they have
    answered theirs. A revision that fails leaves the old one serving. Defaults and settings are in
    force with the next request: nothing is restarted.
    """
    from phoundry.client import Client

    defaults: dict[str, Any] = dict.fromkeys(unset or []) | given(
        system_prompt, temperature, top_p, max_tokens, stop
    )
    if defaults.get("stop", ()) is None:
        defaults["stop"] = []
    flags = {
        "model": model,
        "flow": flow,
        "connections": assignments(connections, "--connections"),
        "init": read_inputs(init or [], "--init"),
        "engine": engine,
        "quantization": quantization,
        "adapter": adapter,
        "context_length": context_length,
        "instance_count": instance_count,
        "gate": gate,
        "description": description,
        "defaults": defaults,
    }
    words = assignments(settings, "--set")
    where, what, change = changed(name, endpoint, file, flags, words)
    if rollback and change is not None:
        raise UsageError("--rollback goes with no other change.", remedy="Run them one by one.")
    if change is None and not rollback:
        raise UsageError("Nothing is to be changed.", remedy="See the options with --help.")
    out, client = Printer(output), Client()
    if change is None:
        deployment = client.deployments.roll_back(where, what)
    else:
        deployment = client.deployments.update(where, what, change)
    if not no_wait:
        deployment = in_force(client, out, deployment)
    print_deployment(out, deployment)


@verb(app, "retry", example="phoundry deployment retry faq/blue")
def retry(
    name: Name,
    endpoint: InEndpoint = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return at once.")] = False,
    output: Output = Format.table,
) -> None:
    """Let what failed of a deployment try again, with the traffic that it has."""
    from phoundry.client import Client

    where, what = deployment_reference(name, endpoint)
    out, client = Printer(output), Client()
    deployment = client.deployments.retry(where, what)
    if not no_wait:
        deployment = awaited(client, out, deployment)
    check(deployment)
    print_deployment(out, deployment)


@verb(
    app,
    "logs",
    example="phoundry deployment logs faq/blue -f\nphoundry deployment logs faq/blue --replica 1",
)
def logs(
    name: Name,
    endpoint: InEndpoint = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="As it is written.")] = False,
    replica: Annotated[
        int | None, typer.Option(min=0, help="Its number; the first one unless named.")
    ] = None,
) -> None:
    """Print what a deployment's replica has written."""
    from phoundry.client import Client

    where, what = deployment_reference(name, endpoint)
    deployments = Client().deployments
    if follow:
        pieces: Iterable[str] = deployments.follow(where, what, replica=replica)
    else:
        pieces = [deployments.logs(where, what, replica=replica).text]
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


verb(app, "data", example=deployment_data.EXAMPLE)(deployment_data.data)
