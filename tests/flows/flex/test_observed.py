"""Flex flows and prompties: what promptflow 1.18.5 was observed to do with them, and ours.

A line is as the shared cases: `files`, `file`, `inputs`, `init`, then `expected_output` or
`expected_error`. `requests` are those that reached the model's server, which says the last message
back; `@URL@` is its address.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phoundry.flows.errors import FlowError
from phoundry.flows.executor import surroundings
from phoundry.flows.load import load_flow
from phoundry.flows.runner import open_runner
from tests.flows.conftest import Endpoint

CASES = [
    json.loads(line) for line in Path(__file__).with_name("observed.jsonl").read_text().splitlines()
]
# Where ours does more, and why.
MORE = {
    "flex/class_annotations_text": "annotations are read under `from __future__`, too",
    "flex/environment": "the flow's variables are set, as by Prompt flow's command",
    "prompty/no_parameters": "a model without parameters takes its own defaults",
    "prompty/sample": "the sample stands in for inputs, as by Prompt flow's command",
    "prompty/sample_only_given": "given inputs win over the sample",
    "prompty/response_all": "the whole answer is the output",
    "prompty/image": "an input of type image is an image",
    "prompty/input_value": "older prompties write a value where a type belongs",
    "prompty/dashes": "the template may have lines of dashes",
}


def answer(body: dict[str, Any]) -> tuple[int, Any]:
    last = body.get("prompt") or body["messages"][-1]["content"]
    text = last if isinstance(last, str) else json.dumps(last)
    if text.startswith("status "):
        return int(text.split()[1]), {"error": {"message": "refused"}}
    if body.get("stream"):
        pieces = [{"choices": [{"delta": {"content": f"{word} "}}]} for word in text.split()]
        return 200, [*pieces, "[DONE]"]
    if "prompt" in body:
        return 200, {"choices": [{"text": text}]}
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if text == "call":
        call = {"id": "i", "type": "function", "function": {"name": "g", "arguments": "{}"}}
        message |= {"content": None, "tool_calls": [call]}
    end = "tool_calls" if text == "call" else "stop"
    return 200, {"choices": [{"message": message, "finish_reason": end}]}


@pytest.fixture(scope="module")
def server() -> Iterator[Endpoint]:
    found = Endpoint()
    found.reply = answer
    yield found
    found.close()


def run(case: dict[str, Any], folder: Path, url: str) -> dict[str, Any]:
    for name, text in case["files"].items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.replace("@URL@", url))
    try:
        flow = load_flow(folder / case["file"])
        with surroundings(flow):
            return open_runner(flow, None, case.get("init")).run(case["inputs"]).to_dict()
    except FlowError as error:
        return {"status": "Failed", "output": None, "error": error.to_dict()}


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_as_observed(case: dict[str, Any], tmp_path: Path, server: Endpoint) -> None:
    server.requests.clear()
    result = run(case, tmp_path / case["id"], server.url)
    if case["feature"] in MORE:
        assert result["status"] == "Completed"
        return
    expected = case.get("expected_output")
    if expected is None:
        assert result["status"] == "Failed"
        assert case["expected_error"]["codes"][-1] in result["error"]["codes"]
        return
    output = json.loads(json.dumps(result["output"]).replace(server.url, "@URL@"))
    # As text, because nan is not nan.
    assert json.dumps(output, sort_keys=True) == json.dumps(expected["output"], sort_keys=True)
    asked = [{"path": item["path"], "body": item["body"]} for item in server.requests]
    assert asked == case.get("requests", [])


def test_every_difference_is_of_a_case() -> None:
    assert MORE.keys() <= {case["feature"] for case in CASES}
