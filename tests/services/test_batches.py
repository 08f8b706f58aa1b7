"""Batch jobs: what is refused at once, what is pinned, and the states of every job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import Conflict, InsufficientResources, InvalidInput, NotFound
from phoundry.services import batch_memory, data, deployments, endpoints, job_outputs, jobs, models
from phoundry.services.context import Context
from phoundry.services.prune import plan as plan_pruning
from phoundry.services.reconcile import curves
from phoundry.services.reconcile import jobs as reconcile_jobs
from phoundry.services.reconcile import tasks as reconcile_tasks
from phoundry.specs.batch import BatchJobSpec
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec
from phoundry.specs.job import Job
from phoundry.specs.model import ModelSpec
from phoundry.spool import Spool
from tests.services.fake_workers import FakeWorkers
from tests.support.assets import hand_over, make_asset

MODEL = "smollm2-135m-instruct"


def requests(number: int = 3) -> bytes:
    lines = [
        {"custom_id": f"q{place}", "body": {"messages": [{"role": "user", "content": "Hi"}]}}
        for place in range(number)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def create(context: Context, content: bytes | None = None, **changes: Any) -> Job:
    values: dict[str, Any] = {"type": "batch", "model": MODEL, "input": "/home/me/asked.jsonl"}
    if content is not None:
        values["file"] = hand_over(context, content, "/home/me/asked.jsonl")
    return jobs.create(context, BatchJobSpec.model_validate(values | changes))


def tick(context: Context) -> None:
    reconcile_jobs.tick(context)
    reconcile_tasks.tick(context)


def started(context: Context, fleet: FakeWorkers) -> Path:
    """The folder of the batch's worker, once its model is fetched and converted."""
    for _ in range(8):
        tick(context)
        if fleet.starts and fleet.starts[-1].module == "phoundry.serving.batch":
            return fleet.starts[-1].folder
        fleet.work()
        for started in fleet.starts:
            if path := started.spec.get("gguf_path"):
                Path(path).with_suffix(".json").touch()
    raise AssertionError(fleet.modules())


def test_the_requests_are_kept_and_the_rest_is_pinned(context: Context) -> None:
    job = create(context, requests(), parameters={"max_tokens": 40}, slots=2)
    assert (job.type, job.status, job.model) == ("batch", "Queued", MODEL)
    assert (job.input, job.training_data) == ("/home/me/asked.jsonl", "")
    assert (job.parameters["max_tokens"], job.sources["max_tokens"]) == (40, "user")
    assert (job.parameters["quantization"], job.sources["quantization"]) == ("Q8_0", "default")
    kept = Path(job.run_dir) / "input.jsonl"
    assert kept.read_bytes() == requests()
    # The blob may go: the job has its own.
    assert all(item.kind != "run folder" for item in plan_pruning(context).items)
    for blob in context.home.blobs.rglob("*"):
        if blob.is_file():
            blob.unlink()
    assert kept.read_bytes() == requests()


def test_a_data_asset_may_be_asked(context: Context, chats: bytes) -> None:
    make_asset(context, chats, test_size=0.2)
    job = create(context, input="faq", split="test")
    assert job.input == "faq:1"
    assert len((Path(job.run_dir) / "input.jsonl").read_text().splitlines()) == 2
    data.delete(context, "faq:1")
    assert jobs.pause(context, job.name).status == "Paused"
    assert jobs.resume(context, job.name).status == "Queued"
    (Path(job.run_dir) / "input.jsonl").unlink()
    jobs.pause(context, job.name)
    with pytest.raises(NotFound, match="Create the job again"):
        jobs.resume(context, job.name)


def test_what_is_known_to_fail_is_refused_at_once(context: Context, chats: bytes) -> None:
    with pytest.raises(NotFound, match="Did you mean smollm2-135m-instruct"):
        create(context, requests(), model="smolm2-135m-instruct")
    with pytest.raises(InvalidInput, match="2 of 4 rows") as raised:
        create(context, requests(2) + b"5\n{\n")
    assert [fault.where for fault in raised.value.faults] == ["asked.jsonl:3", "asked.jsonl:4"]
    with pytest.raises(NotFound, match="neither a file"):
        create(context)
    with pytest.raises(NotFound, match="endpoint"):
        create(context, requests(), model=None, endpoint="none")
    with pytest.raises(InvalidInput, match="max_tokens"):
        create(context, requests(), parameters={"max_tokens": 9_000})
    make_asset(context, chats, test_size=0)
    with pytest.raises(Conflict, match="no test rows"):
        create(context, input="faq", split="test")
    assert jobs.listing(context) == []
    assert create(context, requests(2) + b"5\n", skip_bad=1).status == "Queued"
    wrongs: list[dict[str, Any]] = [{"endpoint": "faq"}, {"model": None}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="either a model or an endpoint"):
            create(context, **wrong)


def test_an_endpoint_lends_its_model_and_defaults(context: Context) -> None:
    endpoints.create(context, EndpointSpec(name="faq"))
    with pytest.raises(Conflict, match="no deployment"):
        create(context, requests(), model=None, endpoint="faq")
    values = {
        "name": "blue",
        "endpoint_name": "faq",
        "model": MODEL,
        "quantization": "Q4_0",
        "context_length": 512,
        "gate": False,
        "defaults": {"system_prompt": "Be brief.", "max_tokens": 50, "temperature": 0.5},
    }
    deployments.create(context, DeploymentSpec.model_validate(values))
    job = create(context, requests(), model=None, endpoint="faq", parameters={"max_tokens": 9})
    assert (job.model, job.endpoint) == (MODEL, "faq")
    asked = job.parameters
    assert (asked["system_prompt"], asked["max_tokens"]) == ("Be brief.", 9)
    assert (asked["quantization"], asked["context_length"]) == ("Q4_0", 512)
    assert (job.sources["system_prompt"], job.sources["max_tokens"]) == ("endpoint", "user")
    named = create(context, requests(), model=None, endpoint="faq/blue")
    assert named.parameters["temperature"] == 0.5


def test_from_queued_to_completed(
    context: Context, fleet: FakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phoundry.services.engine_files.gguf_record.complete", Path.exists)
    job = create(context, requests(), parameters={"temperature": 0.5})
    folder = started(context, fleet)
    told = fleet.starts[-1].spec
    assert told["lines"] == 3
    assert Path(told["input_path"]).read_bytes() == requests()
    assert told["defaults"]["temperature"] == 0.5
    assert told["slots"] == 3  # no more than there are lines
    Spool(folder / "events.jsonl").append(
        "progress", step=2, max_steps=3, unit="line", failed=1, tokens=80
    )
    tick(context)
    running = jobs.show(context, job.name)
    assert (running.progress.step, running.progress.unit, running.progress.failed) == (2, "line", 1)
    assert (running.parameters["slots"], running.sources["slots"]) == (3, "machine")
    curves.tick(context)
    assert not any("curves" in name for name in fleet.modules())
    (folder / "output").mkdir()
    (folder / "output" / "answers.jsonl").write_text("{}\n")
    fleet.end(folder, metrics={"requests": 3, "failed": 1})
    tick(context)
    ended = jobs.show(context, job.name)
    assert ended.status == "Completed"
    assert ended.metrics == {"requests": 3, "failed": 1}
    assert ended.output == str(folder / "output")
    assert [(each.path, each.bytes) for each in job_outputs.listing(context, job.name)] == [
        ("answers.jsonl", 3)
    ]
    assert b"".join(job_outputs.read(context, job.name, "answers.jsonl")) == b"{}\n"
    for outside in ("../spec.json", "/etc/passwd", "none"):
        with pytest.raises(NotFound):
            job_outputs.read(context, job.name, outside)
    with pytest.raises(Conflict, match="batch job"):
        models.register(context, ModelSpec(name="faq", job=job.name))


def test_paused_cancelled_and_killed_it_says_from_which_line_it_goes_on(
    context: Context, fleet: FakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phoundry.services.engine_files.gguf_record.complete", Path.exists)
    job = create(context, requests())
    folder = started(context, fleet)
    Spool(folder / "events.jsonl").append("progress", step=1, max_steps=3, unit="line")
    jobs.pause(context, job.name)
    fleet.stop()
    tick(context)
    assert (
        jobs.show(context, job.name).events[-1].message
        == "Paused; resumed, it goes on from line 2."
    )
    jobs.resume(context, job.name)
    started(context, fleet)
    fleet.running.clear()  # killed
    (folder / "result.json").unlink(missing_ok=True)
    tick(context)
    failed = jobs.show(context, job.name)
    assert failed.status == "Failed"
    assert failed.error is not None
    assert "at line 1" in failed.error["message"]
    assert "goes on from line 2" in failed.error["remedy"]
    jobs.resume(context, job.name)
    started(context, fleet)
    jobs.cancel(context, job.name)
    fleet.stop()
    tick(context)
    ended = jobs.show(context, job.name)
    assert ended.status == "Canceled"
    assert "Cancelled after 1 of 3 lines" in ended.notices[-1]


def test_as_many_slots_as_memory_has_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = tmp_path / "a.gguf"
    gguf.write_bytes(b"0" * 1000)
    config = {
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "hidden_size": 576,
        "vocab_size": 49152,
        "model_type": "llama",
    }

    def slots(free: int, lines: int = 100, asked: int | None = None) -> int:
        monkeypatch.setenv("PHOUNDRY_MEMORY_LIMIT", str(free))
        files = {"gguf_path": str(gguf)}
        return batch_memory.slots_for("m", "llama.cpp", config, files, 4096, lines, asked)

    assert slots(4_000_000_000) == batch_memory.MOST
    assert slots(4_000_000_000, lines=2) == 2
    few = slots(800_000_000)
    assert 1 < few < batch_memory.MOST
    assert slots(4_000_000_000, asked=5) == 5
    with pytest.raises(InsufficientResources):
        slots(600_000_000, asked=16)
    with pytest.raises(InsufficientResources):
        slots(100_000_000)
