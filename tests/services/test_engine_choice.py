"""`engine: auto` takes what was measured, and says so; nothing is measured unless asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import ModelError, NotFound
from phoundry.services import deployments, endpoints, engine_choice
from phoundry.services.context import Context
from phoundry.services.reconcile import tasks as reconcile_tasks
from phoundry.specs.deployment import DeploymentSpec, DeploymentUpdate, RequestSettings
from phoundry.specs.endpoint import EndpointSpec
from phoundry.specs.engine_speeds import EngineSpeeds
from tests.services.fake_workers import MODEL, FakeWorkers

SPEEDS: dict[str, Any] = {
    "llama.cpp": {"1": 60.0, "4": 150.0, "8": 200.0},
    "openvino": {"1": 40.0, "4": 180.0, "8": 400.0},
}


@pytest.fixture
def endpoint(context: Context) -> str:
    return endpoints.create(context, EndpointSpec(name="faq")).name


def benchmark(context: Context, fleet: FakeWorkers, *, again: bool = False) -> EngineSpeeds:
    """Ask until it is there, as a client does."""
    found = engine_choice.measure(context, MODEL, again=again)
    for _ in range(5):
        if found.measured:
            break
        fleet.work()
        for folder, started in list(fleet.running.items()):
            if started.module == "phoundry.serving.speeds":
                assert started.spec["streams"] == [1, 4, 8]
                fleet.end(folder, speeds=SPEEDS, left_out={})
        reconcile_tasks.tick(context)
        found = engine_choice.measure(context, MODEL)
    return found


def deploy(context: Context, name: str, most: int = 8, **values: Any) -> Any:
    settings = RequestSettings(max_concurrent_requests_per_instance=most)
    spec = DeploymentSpec(
        name=name,
        endpoint_name="faq",
        model=MODEL,
        engine="auto",
        request_settings=settings,
        **values,
    )
    return deployments.create(context, spec)


def test_what_was_measured_is_taken_by_the_load(
    context: Context, fleet: FakeWorkers, endpoint: str
) -> None:
    before = deploy(context, "before")
    assert before.engine == "llama.cpp"
    assert f"phoundry model benchmark {MODEL}" in before.notices[0]
    found = benchmark(context, fleet)
    assert [each.engine for each in found.fastest(8)] == ["openvino", "llama.cpp"]
    many = deploy(context, "many")
    assert many.engine == "openvino"
    assert "400 tokens/s over 8 conversations" in many.notices[0]
    assert "llama.cpp 200" in many.notices[0]
    assert "JSON schemas" in many.notices[0]
    assert deploy(context, "one", most=1).engine == "llama.cpp"
    assert deploy(context, "six", most=6).engine == "openvino"  # by what was measured with four
    assert deploy(context, "shared", adapter="shared").engine == "llama.cpp"
    changed = deployments.update(context, endpoint, "before", DeploymentUpdate(engine="auto"))
    assert (changed.engine, changed.revision) == ("openvino", 2)
    same = deployments.update(context, endpoint, "before", DeploymentUpdate(engine="auto"))
    assert same.revision == 2


def test_it_is_measured_once_and_again_when_asked(
    context: Context, fleet: FakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark(context, fleet)
    benchmark(context, fleet)
    assert fleet.modules().count("serving.speeds") == 1
    benchmark(context, fleet, again=True)
    assert fleet.modules().count("serving.speeds") == 2
    # Another machine: what was measured on this one says nothing of it.
    monkeypatch.setattr(engine_choice, "_processor", lambda: "another")
    assert not engine_choice.measure(context, MODEL).measured


def test_a_measurement_that_failed_is_tried_again(context: Context, fleet: FakeWorkers) -> None:
    for _ in range(4):
        engine_choice.measure(context, MODEL)
        fleet.work()
        for folder, started in list(fleet.running.items()):
            if started.module == "phoundry.serving.speeds":
                fleet.end(folder, "failed")
        reconcile_tasks.tick(context)
        if "serving.speeds" in fleet.modules():
            break
    with pytest.raises(ModelError):
        engine_choice.measure(context, MODEL)
    assert benchmark(context, fleet).measured


def test_an_unknown_model(context: Context) -> None:
    with pytest.raises(NotFound):
        engine_choice.measure(context, "no-such-model")


def test_the_worker_measures_what_it_is_told(tmp_path: Path) -> None:
    """On the fake engine, which says whatever it is told: rates are there, none is looked at."""
    from phoundry.serving.speeds import task
    from phoundry.spool import Spool
    from tests.support.tiny_tokenizer import make_tiny_tokenizer

    made = make_tiny_tokenizer(tmp_path / "tiny", style="chatml")
    spec = {
        "engines": ["fake", "llama.cpp"],
        "gguf_path": str(tmp_path / "none.gguf"),
        "tokenizer_dir": str(made.folder),
        "context_length": 256,
        "threads": 1,
        "slots": 2,
        "streams": [1, 2],
    }
    found = task(spec, tmp_path, Spool(tmp_path / "events.jsonl"))
    assert found["speeds"]["fake"].keys() == {"1", "2"}
    assert all(rate > 0 for rate in found["speeds"]["fake"].values())
    assert "no model file" in found["left_out"]["llama.cpp"]
