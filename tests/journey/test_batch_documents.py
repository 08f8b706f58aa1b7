"""A batch in `phoundry apply`: read, planned, handed over, made once, written out again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phoundry.client import Client
from phoundry.errors import InvalidInput
from phoundry.journey.export import export
from phoundry.services import jobs
from phoundry.services.context import Context, open_context
from phoundry.settings import Home
from tests.journey.applying import in_process

MODEL = "smollm2-135m-instruct"


@pytest.fixture
def context(home: Home) -> Iterator[Context]:
    opened = open_context(home)
    yield opened
    opened.database.close()


@pytest.fixture
def client(context: Context, monkeypatch: pytest.MonkeyPatch) -> Client:
    in_process(monkeypatch, context)
    return Client(context.home)


@pytest.fixture
def batch_file(tmp_path: Path) -> Path:
    line: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
    (tmp_path / "asked.jsonl").write_text(json.dumps(line) + "\n")
    path = tmp_path / "batch.yaml"
    path.write_text(
        f"type: batch\nname: night\nmodel: {MODEL}\ninput: asked.jsonl\n"
        "parameters: {max_tokens: 40}\nslots: 2\n"
    )
    return path


def test_a_batch_is_applied_once(client: Client, context: Context, batch_file: Path) -> None:
    documents = client.apply.read(batch_file)
    (item,) = client.apply.plan(documents).items
    assert (item.kind, item.name, item.action) == ("job", "night", "create")
    assert client.apply.run(documents, wait=False) == ["batch/night"]
    job = jobs.show(context, "night")
    assert (job.type, job.input) == ("batch", str(batch_file.parent / "asked.jsonl"))
    assert (Path(job.run_dir) / "input.jsonl").read_bytes() == (
        batch_file.parent / "asked.jsonl"
    ).read_bytes()
    (again,) = client.apply.plan(client.apply.read(batch_file)).items
    assert (again.action, again.reason) == ("follow", "it is Queued")
    (written,) = export(context, "night")
    assert written == {
        "name": "night",
        "type": "batch",
        "model": MODEL,
        "input": str(batch_file.parent / "asked.jsonl"),
        "parameters": {"max_tokens": 40},
        "slots": 2,
    }


def test_what_is_wrong_is_told_by_line(client: Client, batch_file: Path) -> None:
    batch_file.write_text("type: batch\nmodel: m\nendpoint: faq\ninput: a\nslot: 2\n")
    with pytest.raises(InvalidInput) as raised:
        client.apply.read(batch_file)
    assert any("unknown key 'slot'" in str(fault) for fault in raised.value.faults)
    batch_file.write_text("type: batch\nmodel: m\ninput: a\n")
    with pytest.raises(InvalidInput, match="'name' is missing"):
        client.apply.read(batch_file)
