"""Journeys: data to chat, walked by the control plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from phoundry.client.paths import located
from phoundry.client.transport import Transport, segment
from phoundry.client.waiting import wait_for
from phoundry.specs.journey import Journey, JourneySpec


class Journeys:
    """`client.journeys`"""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, spec: JourneySpec) -> Journey:
        """Begin a journey, or go on with the one that this spec began."""
        project = spec.project.model_copy(update={"model": located(spec.project.model)})
        body = spec.model_copy(update={"project": project}).stored()
        return self._transport.one(Journey, "POST", "/api/journeys", json=body, starts=True)

    def show(self, name: str) -> Journey:
        return self._transport.one(Journey, "GET", f"/api/journeys/{segment(name)}")

    def wait(
        self,
        name: str,
        on_change: Callable[[Journey], None] | None = None,
        *,
        timeout: float | None = None,
    ) -> Journey:
        """The journey once it is done or has failed; `on_change` sees each change."""
        return wait_for(
            lambda: self.show(name),
            lambda journey: journey.state != "running",
            on_change=on_change,
            alive=self._transport.running,
            timeout=timeout,
            what=f"Journey {name}",
        )

    def list(self) -> Sequence[Journey]:
        return self._transport.many(Journey, "/api/journeys")
