"""What deployments collected, read in order, page by page, and made into training data."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoundry.data import SourceFile, open_rows
from phoundry.errors import NotFound
from phoundry.services import collected
from phoundry.services.context import Context
from phoundry.services.prune import plan as plan_pruning
from phoundry.services.prune import prune
from phoundry.serving.replica.collecting import Exchange as Passed
from phoundry.serving.replica.collecting import Writer
from phoundry.specs.collection import Exchange
from phoundry.specs.endpoint import EndpointSpec

WHEN = datetime(2025, 11, 23, 8, 59, 59, 900_000, tzinfo=UTC).timestamp()


def keep(folder: Path, *moments: float, instance: str = "one", rolling: Any = "hour") -> None:
    """Conversations that ended at these seconds after WHEN, as a replica writes them."""
    found: list[Passed] = []
    for moment in moments:
        asked = {"messages": [{"role": "user", "content": f"at {moment}"}]}
        choice = {"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
        passed = Passed(
            ("model_inputs", "model_outputs"), f"r{moment}", "/v1/chat/completions", rolling
        )
        passed.time = WHEN + moment
        passed.asked = [json.dumps(asked).encode()]
        passed.answered = [json.dumps({"choices": [choice]}).encode()]
        found.append(passed)
    Writer(folder, instance, "/x", "faq:1").write(found)


@pytest.fixture
def folder(context: Context) -> Path:
    return context.home.collected / "faq" / "blue"


def read(context: Context, **settings: Any) -> list[str]:
    return [each.id for each in collected.page(context, "faq", "blue", **settings).exchanges]


def test_replicas_and_hours_are_one_order(context: Context, folder: Path) -> None:
    keep(folder, 0.05, 3, 4000)
    keep(folder, 0.01, 5, 3999, instance="two")
    assert len(list((folder / "model_inputs").rglob("*.jsonl"))) == 6
    order = ["r0.01", "r0.05", "r3", "r5", "r3999", "r4000"]
    assert read(context) == order
    since = datetime.fromtimestamp(WHEN + 4, UTC)
    assert read(context, since=since) == order[3:]
    after, pages = "", list[list[str]]()
    while True:
        page = collected.page(context, "faq", "blue", after=after, limit=4)
        pages.append([each.id for each in page.exchanges])
        after = page.next
        if page.finished:
            break
    assert pages == [order[:4], order[4:]]
    assert read(context, after=after) == []
    keep(folder, 0.02, rolling="year")  # the rate was changed: stretches overlap
    assert read(context) == ["r0.01", "r0.02", *order[1:]]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 7200), unique=True, max_size=12), st.integers(1, 5))
def test_pages_give_everything_once(moments: list[int], limit: int) -> None:
    import tempfile

    from phoundry.services.context import open_context
    from phoundry.settings import Home

    with tempfile.TemporaryDirectory() as name:
        context = open_context(Home(Path(name) / "home"))
        folder = context.home.collected / "faq" / "blue"
        folder.mkdir(parents=True)
        keep(folder, *moments[::2])
        keep(folder, *moments[1::2], instance="two")
        found, after = list[str](), ""
        while True:
            page = collected.page(context, "faq", "blue", after=after, limit=limit)
            found += [each.id for each in page.exchanges]
            after = page.next
            if page.finished:
                break
        context.database.close()
    assert found == [f"r{moment}" for moment in sorted(moments)]


def test_a_page_parses_no_more_than_its_own_lines(
    context: Context, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(folder, *range(300), rolling="year")
    parsed: list[bytes] = []

    def counted(line: bytes) -> Any:
        parsed.append(line)
        return json.loads(line)

    monkeypatch.setattr(collected, "json", SimpleNamespace(loads=counted))
    after = collected.page(context, "faq", "blue", limit=150).next
    parsed.clear()
    page = collected.page(context, "faq", "blue", after=after, limit=10)
    assert [each.id for each in page.exchanges] == [f"r{moment}" for moment in range(150, 160)]
    assert not page.finished
    assert len(parsed) < 50, "of 600"


def test_a_page_is_full_where_most_lines_are_somebody_elses(context: Context, folder: Path) -> None:
    keep(folder, *range(9), rolling="year")
    path = next((folder / "model_inputs").rglob("*.jsonl"))
    strange = path.read_bytes().splitlines()[0].replace(b"correlationid", b"unrelated")
    path.write_bytes((strange + b"\n") * 40 + path.read_bytes())
    page = collected.page(context, "faq", "blue", limit=4)
    assert [each.id for each in page.exchanges] == ["r0", "r1", "r2", "r3"]
    assert not page.finished


def test_whoever_follows_waits_until_nothing_older_can_come(context: Context, folder: Path) -> None:
    young = time.time() - WHEN
    keep(folder, young, young - 10)
    assert len(read(context)) == 2
    assert len(read(context, settled=True)) == 1


def test_what_is_torn_or_not_ours_is_passed_over(context: Context, folder: Path) -> None:
    keep(folder, 1, 2)
    path = next((folder / "model_inputs").rglob("*.jsonl"))
    path.write_bytes(b'{"time": "2026"}\n[]\n{"tor\n' + path.read_bytes() + b'{"half')
    assert read(context) == ["r1", "r2"]
    with pytest.raises(NotFound, match="Nothing was collected"):
        collected.page(context, "faq", "green")


def exchange(request: dict[str, Any] | None, answer: dict[str, Any] | None) -> Exchange:
    return Exchange(id="a", time=datetime.now(UTC), request=request, answer=answer)


ASKED: list[dict[str, Any]] = [{"role": "user", "content": "What?"}]


def answered(content: str | None = "That.", finish: str = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "refusal": None, **more}
    return {"choices": [{"message": message, "finish_reason": finish}]}


def test_whole_conversations_are_rows_that_data_takes(tmp_path: Path) -> None:
    azure: dict[str, Any] = {"input_data": {"input_string": ASKED, "parameters": {}}}
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    tools: list[dict[str, Any]] = [
        {"type": "function", "function": {"name": "look", "parameters": {}}}
    ]
    whole = [
        exchange({"messages": ASKED, "temperature": 0}, answered()),
        exchange(azure, {"output": "That."}),
        exchange(
            {"messages": ASKED, "tools": tools}, answered(None, "tool_calls", tool_calls=[call])
        ),
    ]
    rows = [each.conversation() for each in whole]
    assert rows[0] == rows[1] == {"messages": [*ASKED, {"role": "assistant", "content": "That."}]}
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    taken = list(open_rows([SourceFile(path, "rows.jsonl")]))
    assert [type(row) for row in taken] == [dict, dict, dict]
    azure["input_data"]["parameters"] = {"return_full_text": True}
    for partial in (
        exchange({"messages": ASKED}, None),
        exchange(None, answered()),
        exchange({"messages": ASKED}, answered(finish="length")),
        exchange({"messages": ASKED}, answered("")),
        exchange({"prompt": "a"}, {"choices": [{"text": "b", "finish_reason": "stop"}]}),
        exchange(azure, {"output": "What? That."}),
    ):
        assert partial.conversation() is None


def test_what_a_deleted_deployment_collected_goes_after_a_month(
    context: Context, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from phoundry.services import deployments, endpoints
    from phoundry.specs.deployment import DeploymentSpec

    other = context.home.collected / "faq" / "green"
    keep(folder, 1)
    keep(other, 1)
    endpoints.create(context, EndpointSpec(name="faq"))
    values = {"name": "blue", "endpoint_name": "faq", "model": "smollm2-135m-instruct"}
    deployments.create(context, DeploymentSpec.model_validate(values))
    assert [item.kind for item in plan_pruning(context).items] == []
    long_ago = time.time() - 31 * 24 * 3600
    for place in (folder, other):
        for path in [place, *place.rglob("*")]:
            os.utime(path, (long_ago, long_ago))
    (item,) = plan_pruning(context).items
    assert (item.kind, item.name) == ("collected data", "faq/green")
    prune(context)
    assert folder.exists()
    assert not other.exists()
