"""What a type checker must see of the client; never run. `test_types.py` checks it strictly."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import assert_type

from phoundry import AsyncClient, Client
from phoundry.client.aio.chat import AsyncEndpointChat
from phoundry.specs.data import DataAsset
from phoundry.specs.deployment import Deployment
from phoundry.specs.job import FineTuningJobSpec, Job


def synchronous(client: Client, spec: FineTuningJobSpec) -> None:
    assert_type(client.data.create("faq", "faq.jsonl", seed=1), DataAsset)
    assert_type(client.jobs.create(spec), Job)
    assert_type(client.jobs.wait("job", lambda job: print(job.status)), Job)
    assert_type(client.jobs.follow("job"), Iterator[str])
    assert_type(client.deployments.list("faq"), Sequence[Deployment])
    client.data.create("faq", 7)  # pyright: ignore[reportArgumentType]


async def asynchronous(client: AsyncClient, spec: FineTuningJobSpec) -> None:
    async def tell(job: Job) -> None:
        print(job.status)

    assert_type(await client.data.create("faq", "faq.jsonl", seed=1), DataAsset)
    assert_type(await client.jobs.create(spec), Job)
    assert_type(await client.jobs.wait("job", tell), Job)
    assert_type(await client.jobs.wait("job", lambda job: print(job.status)), Job)
    assert_type(client.jobs.follow("job"), AsyncGenerator[str])
    assert_type(await client.deployments.list("faq"), Sequence[Deployment])
    assert_type(await client.chat("faq"), AsyncEndpointChat)
    async with client.data.stream("faq") as pieces:
        assert_type(await anext(pieces), bytes)
    await client.data.create("faq", 7)  # pyright: ignore[reportArgumentType]
