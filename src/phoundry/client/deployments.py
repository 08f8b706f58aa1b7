"""Deployments of an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from phoundry.client.jobs import follow_log
from phoundry.client.paths import located
from phoundry.client.transport import Transport, segment
from phoundry.client.waiting import wait_for
from phoundry.specs.deployment import Deployment, DeploymentSpec, DeploymentUpdate
from phoundry.specs.job import LogChunk
from phoundry.specs.parity import Parity

_AT_ONCE = {"defaults", "description", "tags"}


class Deployments:
    """`client.deployments`"""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, spec: DeploymentSpec) -> Deployment:
        """Begin to deploy a model behind `spec.endpoint_name`; see `wait`."""
        if spec.flow is None:
            spec = spec.model_copy(update={"model": located(spec.model)})
        else:
            spec = spec.model_copy(update={"flow": str(Path(spec.flow).expanduser().absolute())})
        body = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        path = _path(spec.endpoint_name)
        return self._transport.one(Deployment, "POST", path, json=body, starts=True)

    def show(self, endpoint: str, name: str) -> Deployment:
        return self._transport.one(Deployment, "GET", _path(endpoint, name))

    def update(self, endpoint: str, name: str, change: DeploymentUpdate) -> Deployment:
        """Change what `change` sets; no request is dropped.

        Another model, engine, quantisation or context is a new revision, whose replicas start
        beside those that serve; see `wait`. All else is in force with the next request.
        """
        if change.flow is not None:
            there = str(Path(change.flow).expanduser().absolute())
            change = change.model_copy(update={"flow": there})
        if change.model is not None:
            change = change.model_copy(update={"model": located(change.model)})
        body = change.model_dump(mode="json", exclude_unset=True)
        starts = not change.model_fields_set <= _AT_ONCE  # somebody has to act on it
        path = _path(endpoint, name)
        return self._transport.one(Deployment, "PATCH", path, json=body, starts=starts)

    def roll_back(self, endpoint: str, name: str) -> Deployment:
        """Give up the revision that is being rolled out, or go back to the one before."""
        path = _path(endpoint, name) + "/rollback"
        return self._transport.one(Deployment, "POST", path, starts=True)

    def retry(self, endpoint: str, name: str) -> Deployment:
        """Let a failed deployment try again; see `wait`."""
        path = _path(endpoint, name) + "/retry"
        return self._transport.one(Deployment, "POST", path, starts=True)

    def delete(self, endpoint: str, name: str) -> None:
        self._transport.request("DELETE", _path(endpoint, name), starts=True)

    def parity(self, endpoint: str, name: str) -> Parity:
        """What the deploy gate found: where it and the trained model part, if they do."""
        return self._transport.one(Parity, "GET", _path(endpoint, name) + "/parity")

    def logs(
        self, endpoint: str, name: str, *, offset: int = 0, replica: int | None = None
    ) -> LogChunk:
        """What a replica has written from byte `offset` on; the first one's unless named."""
        path = _path(endpoint, name) + "/logs"
        asked = {"offset": offset} | ({} if replica is None else {"replica": replica})
        return self._transport.one(LogChunk, "GET", path, params=asked)

    def follow(self, endpoint: str, name: str, *, replica: int | None = None) -> Iterator[str]:
        """A replica's log as it is written, until the replica ends."""
        return follow_log(
            lambda offset: self.logs(endpoint, name, offset=offset, replica=replica),
            self._transport.running,
            f"Deployment {endpoint}/{name}",
        )

    def wait(
        self,
        endpoint: str,
        name: str,
        on_change: Callable[[Deployment], None] | None = None,
        *,
        timeout: float | None = None,
    ) -> Deployment:
        """The deployment once it is Failed, or Succeeded and through the deploy gate or not."""
        return wait_for(
            lambda: self.show(endpoint, name),
            _settled,
            on_change=on_change,
            alive=self._transport.running,
            timeout=timeout,
            what=f"Deployment {endpoint}/{name}",
        )

    def list(self, endpoint: str) -> Sequence[Deployment]:
        return self._transport.many(Deployment, _path(endpoint))


def _settled(deployment: Deployment) -> bool:
    return deployment.settled or deployment.provisioning_state == "Failed"


def _path(endpoint: str, name: str | None = None) -> str:
    base = f"/api/endpoints/{segment(endpoint)}/deployments"
    return base if name is None else f"{base}/{segment(name)}"
