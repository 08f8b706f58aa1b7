"""The one object a program holds: nouns as attributes, loaded when first used."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from phoundry.client.transport import connect
from phoundry.settings import Home

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phoundry.client.apply import Apply
    from phoundry.client.chat import EndpointChat
    from phoundry.client.collected import Collected
    from phoundry.client.connections import Connections
    from phoundry.client.data import Data
    from phoundry.client.deployments import Deployments
    from phoundry.client.endpoints import Endpoints
    from phoundry.client.flow_runs import FlowRuns
    from phoundry.client.flows import Flows
    from phoundry.client.jobs import Jobs
    from phoundry.client.journeys import Journeys
    from phoundry.client.models import Models
    from phoundry.client.traces import Traces
    from phoundry.server.launch import ServerInfo
    from phoundry.specs.care import Check, Pruning
    from phoundry.specs.status import Status

STOP_SECONDS = 60.0


class Client:
    """Everything the command line does, from Python::

        from phoundry import Client
        client = Client()
        client.data.create("faq", "faq.jsonl")
        spec = FineTuningJobSpec(model="smollm2-135m-instruct", training_data="faq")
        job = client.jobs.create(spec)
        client.jobs.wait(job.name)

    Args:
        home: state folder; `PHOUNDRY_HOME` or the platform's data folder unless given.
        url: a control plane elsewhere (`PHOUNDRY_URL`); else the one that runs on `home`; with
            none running, reading and keeping verbs work in this process, and verbs that need a
            control plane (jobs, models.register, endpoints, deployments, journeys) start it.
        token: the token for `url` (`PHOUNDRY_TOKEN`).
    """

    def __init__(
        self, home: Path | Home | None = None, url: str | None = None, token: str | None = None
    ) -> None:
        if home is not None and not isinstance(home, Home):
            home = Home(home)
        self.transport = connect(home, url, token)

    def __repr__(self) -> str:
        return f"Client(home={str(self.home.root)!r})"

    @property
    def home(self) -> Home:
        return self.transport.home

    @cached_property
    def data(self) -> Data:
        from phoundry.client.data import Data

        return Data(self.transport)

    @cached_property
    def jobs(self) -> Jobs:
        from phoundry.client.jobs import Jobs

        return Jobs(self.transport)

    @cached_property
    def models(self) -> Models:
        from phoundry.client.models import Models

        return Models(self.transport)

    @cached_property
    def endpoints(self) -> Endpoints:
        from phoundry.client.endpoints import Endpoints

        return Endpoints(self.transport)

    @cached_property
    def deployments(self) -> Deployments:
        from phoundry.client.deployments import Deployments

        return Deployments(self.transport)

    @cached_property
    def collected(self) -> Collected:
        from phoundry.client.collected import Collected

        return Collected(self.transport)

    @cached_property
    def connections(self) -> Connections:
        from phoundry.client.connections import Connections

        return Connections(self.transport)

    @cached_property
    def flows(self) -> Flows:
        from phoundry.client.flows import Flows

        return Flows(self.transport, self.connections)

    @cached_property
    def runs(self) -> FlowRuns:
        from phoundry.client.flow_runs import FlowRuns

        return FlowRuns(self.transport, self.flows, self.connections, self.data)

    @cached_property
    def traces(self) -> Traces:
        from phoundry.client.traces import Traces

        return Traces(self.transport)

    @cached_property
    def apply(self) -> Apply:
        from phoundry.client.apply import Apply

        return Apply(self.transport, self.data, self.journeys)

    @cached_property
    def journeys(self) -> Journeys:
        from phoundry.client.journeys import Journeys

        return Journeys(self.transport)

    def chat(self, endpoint: str) -> EndpointChat:
        """A conversation with `ENDPOINT` or `ENDPOINT/DEPLOYMENT` through the gateway."""
        from phoundry.client.chat import open_chat

        return open_chat(self.endpoints, endpoint)

    def status(self) -> Status:
        """What runs on this home, and where."""
        from phoundry.specs.status import Status

        return self.transport.one(Status, "GET", "/api/status")

    def doctor(self, *, offline: bool = False) -> Sequence[Check]:
        """Whether everything needed is there on this machine, with a remedy where it is not.

        `offline`: ask nothing beyond this machine. Nothing is started or changed.
        """
        from phoundry.services.doctor import examine

        return examine(self.home, offline=offline)

    def prune_plan(self, *, everything: bool = False) -> Pruning:
        """What `prune` would remove now. `everything`: also what can be made again."""
        from phoundry.specs.care import Pruning

        return self.transport.one(Pruning, "GET", "/api/prune", params={"everything": everything})

    def prune(self, *, everything: bool = False) -> Pruning:
        """Free disk space: remove what nothing uses any more; returns what has gone."""
        from phoundry.specs.care import Pruning

        return self.transport.one(Pruning, "POST", "/api/prune", params={"everything": everything})

    def start(self, *, port: int | None = None, gateway_port: int | None = None) -> ServerInfo:
        """Start this home's control plane, detached, unless it runs already.

        Returns once the deployments of before answer again, or have had a minute for it.
        """
        if self.transport.running():
            return self.transport.start(port=port, gateway_port=gateway_port)
        from phoundry.client.returning import wait_until_back

        info = self.transport.start(port=port, gateway_port=gateway_port)
        wait_until_back(self)
        return info

    def shutdown(self) -> bool:
        """Stop the control plane and what it runs; returns once they have ended.

        Returns False where none runs.
        """
        from phoundry.client.waiting import wait_for

        if not self.transport.running():
            return False
        alive = self.transport.alive()
        self.transport.request("POST", "/api/shutdown")
        wait_for(alive, lambda up: not up, timeout=STOP_SECONDS, what="The stop")
        self.transport.close()
        return True

    def close(self) -> None:
        self.transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
