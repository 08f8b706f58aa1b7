"""A deployment as it is printed: its replicas a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phoundry.cli.output import Printer

if TYPE_CHECKING:
    from phoundry.specs.deployment import Deployment, ReplicaView


def print_deployment(out: Printer, deployment: Deployment) -> None:
    """The resource, and its notices once more as narration."""
    fields = deployment.model_dump(mode="json")
    if out.talks:
        fields["replicas"] = [_words(each) for each in deployment.replicas]
    out.value(fields)
    for notice in deployment.notices:
        out.note(f"Note: {notice}")


def _words(replica: ReplicaView) -> str:
    """`1  ready  revision 2  pid 4711  324 MB`"""
    parts = [str(replica.number), replica.state, f"revision {replica.revision}"]
    if replica.pid:
        parts.append(f"pid {replica.pid}")
    if replica.memory_bytes:
        parts.append(f"{replica.memory_bytes / 1e6:.0f} MB")
    return "  ".join(parts)


def serving(deployment: Deployment) -> str:
    """`1 of 2`: how many of its replicas answer."""
    if deployment.provisioning_state == "Succeeded" and not deployment.replicas:
        return "asleep"
    return f"{deployment.ready_replicas} of {len(deployment.replicas)}"
