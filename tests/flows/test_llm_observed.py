"""LLM nodes: what promptflow 1.18.5 with promptflow-tools 1.6 was observed to do, and ours.

A line is as the shared cases, with the type of the `connection` named c; `requests` has the first
request that reached the model's server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phoundry.flows.connections import resolved
from phoundry.flows.errors import FlowError
from phoundry.flows.executor import surroundings
from phoundry.flows.load import load_flow
from phoundry.flows.runner import open_runner
from phoundry.specs.connection import ConnectionValues
from tests.flows.conftest import Connections, Endpoint
from tests.flows.flex.test_observed import answer

CASES = [
    json.loads(line)
    for line in Path(__file__).with_name("llm_observed.jsonl").read_text().splitlines()
]
# Where ours does more, and why.
MORE = {
    "llm/max_tokens_inf": "the old editor's word for no limit",
    "llm/no_connection": "the only connection that fits is taken",
    "llm/no_api": "chat is meant where nothing is written",
    "llm/custom": "a custom connection with an address and a key calls a compatible server",
}
# What Prompt flow's tool sends when a node says nothing: the API's own defaults.
DEFAULTS: dict[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "n": 1,
    "stream": False,
    "max_tokens": 16,
    "best_of": 1,
    "echo": False,
    "logit_bias": {},
    "user": "",
}


def told(body: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in body.items()
        if value is not None and DEFAULTS.get(name, body) != value
    }


def connection(kind: str, url: str) -> ConnectionValues:
    base = {"open_ai": {"base_url": f"{url}/v1"}, "serp": {}, "custom": {"api_base": f"{url}/v1"}}
    azure = {"api_base": url, "api_version": "v"}
    configs = base.get(kind, azure if kind == "azure_open_ai" else {"api_base": url})
    return ConnectionValues.model_validate(
        {"name": "c", "type": kind, "configs": configs, "secrets": {"api_key": "k"}}
    )


@pytest.fixture(scope="module")
def server() -> Iterator[Endpoint]:
    found = Endpoint()
    found.reply = answer
    yield found
    found.close()


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_as_observed(case: dict[str, Any], tmp_path: Path, server: Endpoint) -> None:
    server.requests.clear()
    for name, text in case["files"].items():
        (tmp_path / name).write_text(text)
    result: dict[str, Any]
    try:
        flow = load_flow(tmp_path / case["file"])
        found = resolved(flow, Connections(connection(case["connection"], server.url)), {}, {})
        with surroundings(flow, found):
            result = open_runner(flow, found).run(case["inputs"]).to_dict()
    except FlowError as error:
        result = {"status": "Failed", "error": error.to_dict()}
    if case["feature"] in MORE:
        assert result["status"] == "Completed"
        return
    expected = case.get("expected_output")
    if expected is None:
        assert result["status"] == "Failed"
        assert case["expected_error"]["codes"][-1] in result["error"]["codes"]
    else:
        assert result["output"] == expected["output"]
        assert result["nodes"] == expected["nodes"]
    asked = [(item["path"], told(item["body"])) for item in server.requests[:1]]
    assert asked == [(item["path"], told(item["body"])) for item in case.get("requests", [])]


def test_every_difference_is_of_a_case() -> None:
    assert MORE.keys() <= {case["feature"] for case in CASES}
