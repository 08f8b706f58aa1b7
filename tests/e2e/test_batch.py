"""A batch answers what the endpoint answers; what the endpoint was asked becomes data again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import httpx
import pytest

from phoundry import Client
from phoundry.errors import NotFound
from phoundry.specs.collection import DataCollector
from phoundry.specs.deployment import DeploymentUpdate
from tests.support.site import Site

pytestmark = [pytest.mark.xdist_group("journey")]
LONGEST = 40  # tokens
QUESTIONS = [f"What is {colour}, case {number}?" for number in (1, 2) for colour in ("red", "gold")]


def test_asked_collected_asked_again(site: Site) -> None:
    client = Client(site.home)
    (endpoint,) = client.endpoints.list()
    (name,) = [each.name for each in client.deployments.list(endpoint.name) if each.traffic]
    here = f"{endpoint.name}/{name}"
    try:
        change = DeploymentUpdate(data_collector=DataCollector(rolling_rate="day"))
        client.deployments.update(endpoint.name, name, change)
        answers = asked(client, endpoint.name, name)

        told = site.ok("deployment", "data", here, "--rows").splitlines()
        turns = [json.loads(line)["messages"] for line in told]
        pairs = {tuple(turn["content"] for turn in each) for each in turns}
        # Answers that were cut off are no rows; this model rambles.
        assert {pair for pair in pairs if pair[0] in QUESTIONS} <= set(
            zip(QUESTIONS, answers, strict=True)
        )
        kept = client.collected.page(endpoint.name, name).exchanges[-len(QUESTIONS) :]
        said = [each.answer["choices"][0]["message"]["content"] for each in kept if each.answer]
        assert said == answers

        path = site.data.parent / "requests.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines()))
        done = site.ok(
            *("job", "create", "--type", "batch", "--endpoint", endpoint.name),
            *("--input", str(path), "--set", "name=asked-again", "--stream"),
        )
        assert "Completed" in done
        folder = site.data.parent / "answers"
        site.ok("job", "download", "asked-again", "--to", str(folder))
        records = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
        assert [each["custom_id"] for each in records] == ["q0", "q1", "q2", "q3"]
        said = [each["response"]["body"]["choices"][0]["message"]["content"] for each in records]
        assert said == answers
    finally:
        client.deployments.update(endpoint.name, name, DeploymentUpdate(data_collector=None))
        client.close()


def lines() -> list[dict[str, object]]:
    return [
        {
            "custom_id": f"q{place}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"messages": [{"role": "user", "content": question}], "max_tokens": LONGEST},
        }
        for place, question in enumerate(QUESTIONS)
    ]


def asked(client: Client, endpoint: str, name: str) -> list[str]:
    """The endpoint's own answers, all of them collected."""
    key = client.endpoints.keys(endpoint).primaryKey
    address = client.endpoints.show(endpoint).openai_base_url + "/chat/completions"

    def ask(request_id: str, question: str) -> str:
        messages = [{"role": "user", "content": question}]
        answer = httpx.post(
            address,
            json={"model": endpoint, "messages": messages, "max_tokens": LONGEST},
            headers={"Authorization": f"Bearer {key}", "x-request-id": request_id},
            timeout=60,
            trust_env=False,
        )
        return answer.raise_for_status().json()["choices"][0]["message"]["content"]

    def kept() -> set[str]:
        try:
            return {each.id for each in client.collected.page(endpoint, name).exchanges}
        except NotFound:
            return set()

    # The replica looks twice a second whether it shall collect, and writes as often.
    def heard() -> bool:
        ask("early", "Hello?")
        return "early" in kept()

    until(heard)
    said = [ask(f"asked-{place}", question) for place, question in enumerate(QUESTIONS)]
    until(lambda: f"asked-{len(QUESTIONS) - 1}" in kept())
    return said


def until(condition: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)
