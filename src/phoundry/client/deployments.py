"""Deployments of an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from phoundry.client.jobs import follow_log
from phoundry.client.paths import located
from phoundry.client.transport import Transport, segment
from phoundry.client.waiting import wait_for
from phoundry.specs.deployment import Deployment, DeploymentSpec, DeploymentUpdate
from phoundry.specs.job import LogChunk


class Deployments:
    """`client.deployments`"""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, spec: DeploymentSpec) -> Deployment:
        """Begin to deploy a model behind `spec.endpoint_name`; see `wait`."""
        spec = spec.model_copy(update={"model": located(spec.model)})
        body = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        path = _path(spec.endpoint_name)
        return self._transport.one(Deployment, "POST", path, json=body, starts=True)

    def show(self, endpoint: str, name: str) -> Deployment:
        return self._transport.one(Deployment, "GET", _path(endpoint, name))

    def update(self, endpoint: str, name: str, change: DeploymentUpdate) -> Deployment:
        """Change defaults, description or tags; the next request is answered under them."""
        body = change.model_dump(mode="json", exclude_unset=True)
        return self._transport.one(Deployment, "PATCH", _path(endpoint, name), json=body)

    def retry(self, endpoint: str, name: str) -> Deployment:
        """Let a failed deployment try again; see `wait`."""
        path = _path(endpoint, name) + "/retry"
        return self._transport.one(Deployment, "POST", path, starts=True)

    def delete(self, endpoint: str, name: str) -> None:
        self._transport.request("DELETE", _path(endpoint, name), starts=True)

    def logs(self, endpoint: str, name: str, *, offset: int = 0) -> LogChunk:
        """What the replica has written from byte `offset` on."""
        path = _path(endpoint, name) + "/logs"
        return self._transport.one(LogChunk, "GET", path, params={"offset": offset})

    def follow(self, endpoint: str, name: str) -> Iterator[str]:
        """The replica's log as it is written, until the replica ends."""
        return follow_log(
            lambda offset: self.logs(endpoint, name, offset=offset),
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
        """The deployment once it is Succeeded or Failed."""
        return wait_for(
            lambda: self.show(endpoint, name),
            lambda deployment: deployment.provisioning_state in ("Succeeded", "Failed"),
            on_change=on_change,
            alive=self._transport.running,
            timeout=timeout,
            what=f"Deployment {endpoint}/{name}",
        )

    def list(self, endpoint: str) -> Sequence[Deployment]:
        return self._transport.many(Deployment, _path(endpoint))


def _path(endpoint: str, name: str | None = None) -> str:
    base = f"/api/endpoints/{segment(endpoint)}/deployments"
    return base if name is None else f"{base}/{segment(name)}"
