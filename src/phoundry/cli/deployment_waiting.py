"""Waiting until a deployment answers, or until what was changed of it is in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phoundry.cli.output import Printer
from phoundry.errors import ModelError, from_dict

if TYPE_CHECKING:
    from phoundry.client import Client
    from phoundry.specs.deployment import Deployment


def awaited(
    client: Client, out: Printer, begun: Deployment, doing: str | None = None
) -> Deployment:
    """The deployment once it answers and is through the deploy gate, or has failed; meanwhile tell
    how far its model has come. Raises the diff where it does not pass the gate."""
    from phoundry.cli.progress import displayed, prepared

    where, what = begun.endpoint_name, begun.name
    out.note(doing or f"Deploying {begun.model} as {where}/{what} …")
    with displayed(out) as show:
        found = client.deployments.wait(
            where, what, lambda found: show(prepared("Deploying", found.preparation), "deploying")
        )
    if found.gate == "failed" and found.provisioning_state != "Failed":
        raise client.deployments.parity(where, what).failure()
    return found


def in_force(client: Client, out: Printer, begun: Deployment) -> Deployment:
    """The deployment once the change is in force. Raises the reason where it was taken back."""
    if begun.provisioning_state not in ("Creating", "Updating"):
        return begun
    found = awaited(client, out, begun, f"Updating {begun.endpoint_name}/{begun.name} …")
    check(found)
    if found.error and found.revision < begun.revision:
        raise from_dict(found.error)
    return found


def check(deployment: Deployment) -> None:
    """Raise the reason why a deployment failed, if it did."""
    if deployment.provisioning_state == "Failed":
        name = f"{deployment.endpoint_name}/{deployment.name}"
        failure = ModelError(
            f"The deployment {name} failed.", remedy=f"See `phoundry deployment logs {name}`."
        )
        raise from_dict(deployment.error) if deployment.error else failure
