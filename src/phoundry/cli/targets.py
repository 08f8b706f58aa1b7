"""From a name to an endpoint that answers as it; a model may get one made for a while."""

from __future__ import annotations

import re
import secrets
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from phoundry.cli.output import Printer
from phoundry.errors import ModelError, NotFound, from_dict, nearest
from phoundry.specs.names import split_version

if TYPE_CHECKING:
    from phoundry.client import Client

DEPLOYMENT = "chat"


def endpoint_for(
    client: Client, stack: ExitStack, out: Printer, name: str, *, whole: bool = False
) -> str:
    """ENDPOINT or ENDPOINT/DEPLOYMENT that answers as `name`; starts the control plane.

    A model that is deployed is used where it is. Another gets an endpoint that ends with `stack`.

    Args:
        whole: the caller cannot name a deployment: only an endpoint whose whole traffic goes to
            the model will do.

    Raises:
        NotFound: nothing is called so; with the nearest names.
    """
    endpoints = {each.name: each for each in client.endpoints.list()}
    base, slash, deployment = name.partition("/")
    if base in endpoints and not Path(name).is_dir():
        if slash and deployment not in endpoints[base].deployments:
            raise NotFound.named("deployment", name, endpoints[base].deployments)
        client.start()  # the gateway answers only while the control plane runs
        return name
    model = _model(client, name, list(endpoints))
    for endpoint in endpoints:
        for each in client.deployments.list(endpoint):
            ready = each.model == model and each.provisioning_state == "Succeeded"
            if ready and (each.traffic == 100 or not whole):
                client.start()
                return endpoint if whole else f"{endpoint}/{each.name}"
    return _temporary(client, stack, out, model)


def _model(client: Client, name: str, endpoints: list[str]) -> str:
    """The model that `name` names, as a deployment takes it. Raises NotFound."""
    from phoundry.models import catalog

    registered = client.models.list()
    wanted, version = split_version(name)
    for each in registered:  # newest first
        if each.name == wanted and version in (None, each.version):
            return f"{each.name}:{each.version}"
    try:
        source = catalog.resolve(name)
    except NotFound:
        known = [*endpoints, *(each.name for each in registered)]
        near = nearest(name, [*known, *(each.name for each in client.models.catalog())])
        raise NotFound(
            f"There is no flow, endpoint or model '{name}'.",
            remedy=f"Did you mean {', '.join(near)}?" if near else "See `phoundry endpoint list`.",
        ) from None
    return source.entry.name if source.entry else name


def _temporary(client: Client, stack: ExitStack, out: Printer, model: str) -> str:
    """Deploy `model` behind an endpoint that is deleted when `stack` ends."""
    from phoundry.client.checking import checked
    from phoundry.specs.deployment import DeploymentSpec
    from phoundry.specs.endpoint import EndpointSpec

    name = temporary_name(model)
    out.note(f"{model} is not deployed: it gets the endpoint {name} while this chat lasts …")
    client.endpoints.create(checked(EndpointSpec, {"name": name}, "The endpoint"))
    stack.callback(client.endpoints.delete, name)
    # Nobody else is served by it, and who wants to try a model does not wait for a proof.
    spec = {"name": DEPLOYMENT, "endpoint_name": name, "model": model, "gate": False}
    client.deployments.create(checked(DeploymentSpec, spec, "The deployment"))
    deployment = client.deployments.wait(name, DEPLOYMENT)
    if deployment.provisioning_state == "Failed":
        if deployment.error:
            raise from_dict(deployment.error)
        raise ModelError(f"{model} could not be deployed.")
    return name


def temporary_name(model: str) -> str:
    """An endpoint's name (at most 32 characters) that says for which model it is."""
    stem = re.sub(r"[^a-zA-Z0-9]+", "-", Path(model).name).strip("-")[:22].rstrip("-")
    return f"chat-{stem or 'model'}-{secrets.token_hex(2)}"
