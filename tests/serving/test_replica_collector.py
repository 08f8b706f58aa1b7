"""The data collector: what is kept, of how many, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.data import ChatTokenizer
from phoundry.serving.engines.base import EngineSpec
from phoundry.serving.engines.fake import FakeEngine
from phoundry.serving.replica import collecting
from phoundry.serving.replica.app import ReplicaApp
from phoundry.serving.replica.collecting import Exchange, Writer, append
from phoundry.serving.replica.collector import Collecting, chosen, live_collector
from phoundry.serving.replica.generation import Generator
from phoundry.serving.replica.joining import joined
from phoundry.serving.replica.model import ServedModel
from phoundry.specs.collection import DataCollector
from tests.serving.conftest import chat, score

TOKEN = "replica-token"


class Place:
    """A replica's application that collects, in this process."""

    def __init__(self, folder: Path, tokenizer_dir: Path, **settings: Any) -> None:
        tokenizer = ChatTokenizer.load(tokenizer_dir)
        engine = FakeEngine(
            EngineSpec(
                context_length=256,
                slots=2,
                threads=1,
                end_token_ids=frozenset(tokenizer.end_token_ids),
                tokenizer_dir=tokenizer_dir,
            )
        )
        app = ReplicaApp(ServedModel(Generator(engine, tokenizer), "echo:1"), token=TOKEN)
        app.ready = True
        self.run_dir, self.folder = folder / "replica-faq.blue", folder / "collected"
        self.run_dir.mkdir()
        self.set(**settings)
        spec = {"name": "faq/blue", "collect_dir": str(self.folder), "model": "faq:3"}
        self.app = Collecting.of(app, spec, self.run_dir)

    def set(self, **settings: Any) -> None:
        text = json.dumps({"data_collector": settings or None})
        (self.run_dir / "spec.json").write_text(text)

    def post(self, path: str, *bodies: Any, ids: list[str] | None = None) -> list[httpx.Response]:
        async def all_of_them() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
                headers = {"Authorization": f"Bearer {TOKEN}"}
                return [
                    await http.post(
                        path,
                        json=body,
                        headers=headers | ({"x-request-id": ids[place]} if ids else {}),
                    )
                    for place, body in enumerate(bodies)
                ]

        return asyncio.run(all_of_them())

    def records(self, collection: str) -> list[dict[str, Any]]:
        self.app.close()
        files = sorted((self.folder / collection).rglob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_both_sides_of_a_request_are_kept_in_azures_shape(
    tmp_path: Path, tokenizer_dir: Path
) -> None:
    place = Place(tmp_path, tokenizer_dir, rolling_rate="hour")
    (whole,) = place.post("/v1/chat/completions", chat("Hello"), ids=["one"])
    (scored,) = place.post("/score", score("Hello"), ids=["two"])
    inputs, outputs = place.records("model_inputs"), place.records("model_outputs")
    assert [each["data"] for each in inputs] == [[chat("Hello")], [score("Hello")]]
    assert [each["data"] for each in outputs] == [[whole.json()], [scored.json()]]
    assert [each["correlationid"] for each in inputs] == ["one", "two"]
    assert [each["correlationid"] for each in outputs] == ["one", "two"]
    first = inputs[0]
    assert first["specversion"] == "1.0"
    assert first["type"] == "azureml.inference.model_inputs"
    assert first["source"] == "/onlineEndpoints/faq/deployments/blue"
    assert (first["modelversion"], first["path"]) == ("faq:3", "/v1/chat/completions")
    assert len({each["id"] for each in (*inputs, *outputs)}) == 4
    (file,) = (place.folder / "model_inputs").rglob("*.jsonl")
    year, month, day, hour, name = file.relative_to(place.folder / "model_inputs").parts
    assert first["time"].startswith(f"{year}-{month}-{day}T{hour}:")
    assert name == "replica-faq.blue.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_stream_is_kept_as_the_answer_that_it_joins_to(
    tmp_path: Path, tokenizer_dir: Path
) -> None:
    place = Place(tmp_path, tokenizer_dir, rolling_rate="year")
    asked = chat("Who founded Microsoft?")
    streamed = asked | {"stream": True, "stream_options": {"include_usage": True}}
    whole, _ = place.post("/v1/chat/completions", asked, streamed)
    (text, stream) = place.post(
        "/v1/completions", {"prompt": "a b c"}, {"prompt": "a b c", "stream": True}
    )
    assert text.status_code == stream.status_code == 200
    one, other, third, fourth = (each["data"][0] for each in place.records("model_outputs"))
    assert one == whole.json()
    assert other["choices"][0]["message"]["content"] == one["choices"][0]["message"]["content"]
    assert other["choices"][0]["finish_reason"] == one["choices"][0]["finish_reason"]
    assert (other["usage"], other["object"]) == (one["usage"], "chat.completion")
    assert fourth["choices"][0]["text"] == third["choices"][0]["text"]


def test_what_was_refused_or_broke_off_is_not_kept(tmp_path: Path, tokenizer_dir: Path) -> None:
    place = Place(tmp_path, tokenizer_dir, rolling_rate="day")
    (refused,) = place.post("/v1/chat/completions", chat(temperature=9))
    assert refused.status_code == 400
    assert place.records("model_inputs") == []
    assert joined(b'data: {"object": "chat.completion.chunk", "choices": []}\n\n') is None
    broken = b'data: {"object": "chat.completion.chunk"}\n\ndata: {"error": {}}\n\n'
    assert joined(broken) is None


def test_tool_calls_of_a_stream_are_joined() -> None:
    pieces: list[dict[str, Any]] = [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "look", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
    ]
    events = [
        {"object": "chat.completion.chunk", "choices": [{"delta": piece}]} for piece in pieces
    ]
    lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    answer = joined(b"".join([*lines, b"data: [DONE]\n\n"]))
    assert answer is not None
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert call["id"] == "a"
    assert call["function"] == {"name": "look", "arguments": '{"x": 1}'}


def test_nothing_is_kept_unless_asked_for_and_a_change_needs_no_restart(
    tmp_path: Path, tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phoundry.serving.replica.collector.LOOK_SECONDS", 0.0)
    place = Place(tmp_path, tokenizer_dir)
    place.post("/v1/chat/completions", chat("Not kept"))
    assert not place.folder.exists()
    place.set(collections={"model_outputs": {}})
    place.post("/v1/chat/completions", chat("Kept"))
    place.set()
    place.post("/v1/chat/completions", chat("Not kept"))
    assert len(place.records("model_outputs")) == 1
    assert place.records("model_inputs") == []


def test_settings_that_cannot_be_read_leave_those_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phoundry.serving.replica.collector.LOOK_SECONDS", 0.0)
    path = tmp_path / "spec.json"
    path.write_text('{"data_collector": {"sampling_rate": 0.5}}')
    live = live_collector(path)
    first = live()
    assert first is not None
    assert first.sampling_rate == 0.5
    path.write_text('{"data_coll')
    assert live() == first


@given(st.floats(0, 1), st.floats(0, 1), st.text(max_size=40))
def test_a_lower_rate_keeps_a_part_of_what_a_higher_one_keeps(
    one: float, other: float, request_id: str
) -> None:
    settings = DataCollector.model_validate(
        {
            "collections": {
                "model_inputs": {"sampling_rate": min(one, other)},
                "model_outputs": {"sampling_rate": max(one, other)},
            }
        }
    )
    kept = chosen(settings, request_id)
    assert kept in ((), ("model_outputs",), ("model_inputs", "model_outputs"))
    assert kept == chosen(settings, request_id)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.3, 1.0])
def test_the_share_that_is_kept_is_the_rate(rate: float) -> None:
    settings = DataCollector(sampling_rate=rate)
    number = 20_000
    kept = sum(bool(chosen(settings, f"request-{place}")) for place in range(number))
    deviation = (number * rate * (1 - rate)) ** 0.5
    assert abs(kept - number * rate) <= 4 * deviation


def test_a_slow_disk_costs_records_and_no_client_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "MOST_BYTES", 1000)
    writer = Writer(tmp_path, "one", "/x", "m")

    def exchange() -> Exchange:
        body = [b'{"a": "' + b"x" * 391 + b'"}']
        found = Exchange(("model_inputs",), "id", "/score", "year", asked=body)
        found.answered, found.status, found.ended = [b"{}"], 200, True
        return found

    disk = threading.Event()

    def stuck(taken: Sequence[Exchange]) -> None:
        del taken
        disk.wait()

    with monkeypatch.context() as slow:
        slow.setattr(writer, "write", stuck)
        assert [writer.offer(exchange()) for _ in range(3)] == [True, True, False]
        assert writer.dropped == 1
        disk.set()
        writer.close()
    (tmp_path / "model_inputs").write_text("in the way")
    writer.write([exchange(), exchange()])
    assert writer.dropped == 3


def test_what_cannot_be_written_is_counted_and_the_next_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(collecting, "REST_SECONDS", 0.0)
    writer = Writer(tmp_path, "one", "/x", "m")
    write, failed = writer.write, threading.Event()

    def broken_once(taken: Sequence[Exchange]) -> None:
        if failed.is_set():
            return write(taken)
        failed.set()
        raise RecursionError("too deep")

    monkeypatch.setattr(writer, "write", broken_once)

    def exchange(name: str) -> Exchange:
        return Exchange(("model_inputs",), name, "/", "year", asked=[b"{}"], answered=[b"{}"])

    assert writer.offer(exchange("first"))
    assert failed.wait(20)
    assert writer.offer(exchange("next"))
    writer.close()
    (file,) = tmp_path.rglob("*.jsonl")
    assert [json.loads(line)["xrequestid"] for line in file.open()] == ["next"]
    assert writer.dropped == 1
    assert "RecursionError: too deep" in caplog.text


def test_a_torn_line_stays_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append(path, [b'{"a": 1}'])
    path.write_bytes(path.read_bytes() + b'{"b"')
    append(path, [b'{"c": 1}', b'{"d": 1}'])
    assert path.read_bytes().splitlines() == [b'{"a": 1}', b'{"b"', b'{"c": 1}', b'{"d": 1}']
