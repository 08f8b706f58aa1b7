"""What Prompt flow 1.18.5 was seen to answer, asked of ours."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.serving.flow.inside import Answer, Site, hosting, visit

ROWS = [
    json.loads(line)
    for line in Path(__file__).with_name("observed.jsonl").read_text("utf-8").splitlines()
]
BY_FLOW = {name: list(rows) for name, rows in groupby(ROWS, key=lambda row: row["flow"])}


@pytest.mark.parametrize("flow", BY_FLOW)
def test_answers_are_those_of_prompt_flow(flow: str) -> None:
    async def ask_all(site: Site) -> list[tuple[dict[str, Any], Answer]]:
        found: list[tuple[dict[str, Any], Answer]] = []
        for row in BY_FLOW[flow]:
            headers = {"accept": row.get("accept", "*/*")}
            if "type" in row:
                headers["content-type"] = row["type"]
            body = row.get("body")
            found.append((row, await site.ask(row["path"], body, headers, method=row["method"])))
        return found

    with hosting(flow) as hosted:
        answers: list[tuple[dict[str, Any], Answer]] = visit(hosted, ask_all)
    assert len(answers) == len(BY_FLOW[flow]) >= 5
    for row, answer in answers:
        about = json.dumps(row)
        assert answer.status == row["status"], about
        assert answer.headers["content-type"].split(";")[0] == row["kind"], about
        if row["path"] == "/swagger.json":
            _same_swagger(answer.json(), row["answer"])
        elif row["kind"] == "text/event-stream":
            assert answer.text.replace('":"', '": "') == row["answer"], about
        elif "error" in row["answer"]:
            error = answer.json()["error"]
            assert {key: error[key] for key in ("code", "message")} == row["answer"]["error"], about
        else:
            assert answer.json() == row["answer"], about


def _same_swagger(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Theirs wants inputs that have a default, too, and knows a history only by its flag."""
    info = {key: value for key, value in ours["info"].items() if key != "x-chat-history"}
    assert info == theirs["info"]
    assert ours["security"] == theirs["security"]
    assert ours["components"] == theirs["components"]
    assert set(ours["paths"]) == set(theirs["paths"])
    one, other = (it["paths"]["/score"]["post"] for it in (ours, theirs))
    assert one["responses"] == other["responses"]
    schemas = [
        it["requestBody"]["content"]["application/json"]["schema"].get("properties", {})
        for it in (one, other)
    ]
    assert schemas[0].keys() == schemas[1].keys()
    for name, field in schemas[1].items():
        # Of a function's parameters theirs writes defaults as text.
        told = {key: value for key, value in field.items() if key != "default"}
        assert told.items() <= schemas[0][name].items()
