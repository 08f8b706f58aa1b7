"""Ten thousand requests while replicas die and return and the table changes: none is lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

from phoundry.serving.gateway.auth import hash_key
from phoundry.serving.gateway.reload import Reloader
from phoundry.serving.gateway.routes import (
    DeploymentRoute,
    EndpointRoute,
    RoutingTable,
    write_routes,
)
from phoundry.spool import Spool
from tests.serving.inside import KEY, FakeReplica, Inside, Talk, answer, until

REQUESTS = 10_000
CALLERS = 32


async def sometimes_late(talk: Talk) -> None:
    """So that a death finds requests under way."""
    if len(talk.replica.seen) % 16 == 0:
        await asyncio.sleep(0.004)
    await answer(talk)


class Fleet:
    """Replicas that come and go, and the table's file, written as the control plane does."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._routes = inside.folder / "routes.json"
        self._reloader = Reloader(
            self._routes,
            inside.router,
            Spool(inside.folder / "events.jsonl"),
            inside.folder / "loaded.json",
        )
        self._generation = 0
        self.replicas: dict[str, list[FakeReplica]] = {"blue": [], "green": []}
        self.dead: list[FakeReplica] = []
        self.share = 50

    async def start(self, name: str) -> None:
        self.replicas[name].append(await FakeReplica(name, sometimes_late).start())

    def kill_one(self, name: str) -> None:
        """The table still names it: the control plane has not seen it yet."""
        self.dead.append(self.replicas[name].pop(0))
        self.dead[-1].kill()

    def publish(self) -> None:
        deployments = {
            name: DeploymentRoute([r.route for r in replicas], max_concurrent=CALLERS)
            for name, replicas in self.replicas.items()
        }
        traffic = {"blue": self.share, "green": 100 - self.share}
        self._generation += 1
        route = EndpointRoute([hash_key(KEY)], traffic, deployments)
        write_routes(self._routes, RoutingTable(self._generation, {"faq": route}))
        assert self._reloader.check()

    def end(self) -> int:
        """How many requests all replicas have seen."""
        alive = [replica for replicas in self.replicas.values() for replica in replicas]
        for replica in alive:
            replica.kill()
        return sum(len(replica.seen) for replica in [*alive, *self.dead])


async def trouble(fleet: Fleet, chance: random.Random) -> None:
    """One bad moment: a death before the table knows, a new replica, or a new share."""
    name = chance.choice(["blue", "green"])
    match chance.randrange(3):
        case 0:
            fleet.kill_one(name)  # perhaps the last one: requests wait for the next
            await asyncio.sleep(0.002)
            await fleet.start(name)
        case 1:
            await fleet.start(name)
            if len(fleet.replicas[name]) > 3:
                fleet.publish()
                fleet.kill_one(name)
        case _:
            fleet.share = chance.randrange(101)
    fleet.publish()


def test_ten_thousand_requests_and_none_is_lost(tmp_path: Path) -> None:
    async def main() -> None:
        chance = random.Random(20)
        inside = Inside(tmp_path, patience=60)
        fleet = Fleet(inside)
        for name in ("blue", "green"):
            await fleet.start(name)
        fleet.publish()
        seen: Counter[tuple[int, str]] = Counter()
        asked = 0

        async def call() -> None:
            nonlocal asked
            while asked < REQUESTS:
                asked += 1
                reply = await inside.ask()
                seen[reply.status, reply.headers["azureml-model-deployment"]] += 1
                assert reply.status == 200, reply.content
                assert reply.json()["output"] == reply.headers["azureml-model-deployment"]

        troubles = 0
        calling = asyncio.gather(*(call() for _ in range(CALLERS)))
        for step in range(50, REQUESTS, 100):
            await until(lambda step=step: asked >= step or calling.done())
            await trouble(fleet, chance)
            troubles += 1
        await calling
        assert fleet.end() >= REQUESTS + 20  # so many were asked again
        assert len(fleet.dead) >= 30
        assert troubles == 100
        assert sum(seen.values()) == REQUESTS
        assert {status for status, _ in seen} == {200}
        assert len(seen) == 2  # both deployments answered
        limiters = [d.limiter for d in inside.router.endpoints["faq"].deployments.values()]
        assert [limiter.in_flight for limiter in limiters] == [0, 0]

    asyncio.run(main())
