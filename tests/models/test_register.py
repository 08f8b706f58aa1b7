from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phoundry.data import ChatTokenizer
from phoundry.errors import InvalidInput, ModelError
from phoundry.models import chat_model, register
from phoundry.models.checkpoints import PICKLES
from phoundry.models.registry import Registry
from phoundry.models.tensors import sha256_weights
from phoundry.spool import Spool
from tests.models.conftest import Maker
from tests.support.imports import WATCH, heavy_imports

MESSAGES = [{"role": "user", "content": "What is a building permit?"}]


@pytest.fixture(scope="module")
def registry_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A registry shared by this module (making one takes seconds); each test has its own names."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield tmp_path_factory.mktemp("mlflow")
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    mlflow.set_registry_uri(None)  # type: ignore[arg-type]
    if before is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture
def spec(registry_dir: Path, tiny: Maker, adapter: Maker, request: pytest.FixtureRequest) -> Any:
    base = tiny("phi3")
    return {
        "name": request.node.name.partition("[")[0].replace("_", "-"),
        "job": f"job-{request.node.name[:40]}",
        "base_model": "tiny-phi3",
        "base_checkpoint_dir": str(base),
        "adapter_dir": str(adapter(base)),
        "tracking_uri": f"sqlite:///{registry_dir / 'mlflow.db'}",
        "artifact_root": str(registry_dir / "artifacts"),
        "parameters": {"lora_r": 4, "learning_rate": 5e-4},
        "metrics": {"eval_loss": 1.25},
        "tags": {"phoundry.training_data": "faq:1"},
        "description": "Answers about permits.",
    }


def run(spec: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    return register.task(spec, tmp_path, Spool(tmp_path / "events.jsonl"))


def greedy(checkpoint: Path, count: int) -> str:
    """What the checkpoint answers by the renderer of training and serving, and transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = ChatTokenizer.load(checkpoint)
    prompt = tokenizer.render_prompt(MESSAGES)  # type: ignore[arg-type]
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="auto")
    ids = model.generate(torch.tensor([prompt]), max_new_tokens=count, do_sample=False)
    return tokenizer.decode(ids[0, len(prompt) :].tolist())


def test_a_registered_model_answers_a_chat(spec: dict[str, Any], tmp_path: Path) -> None:
    import mlflow

    result = run(spec, tmp_path)
    assert result["uri"] == f"models:/{spec['name']}/1"
    checkpoint = Path(result["checkpoint_dir"])
    assert result["sha256"] == sha256_weights(checkpoint)
    model = mlflow.pyfunc.load_model(result["uri"])
    reply = model.predict({"messages": MESSAGES, "max_tokens": 12})
    assert reply["choices"][0]["message"] == {
        "role": "assistant",
        "content": greedy(checkpoint, 12),
    }
    assert reply["model"] == spec["name"]
    assert reply["usage"]["completion_tokens"] <= 12


def test_nothing_in_it_is_a_pickle_or_leads_out_of_it(spec: dict[str, Any], tmp_path: Path) -> None:
    folder = Path(run(spec, tmp_path)["checkpoint_dir"]).parents[1]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"MLmodel", "chat_model.py", "model.safetensors"}
    for path in files:
        assert not path.is_symlink()
        assert path.suffix not in PICKLES
        assert path.read_bytes()[:1] != b"\x80"  # how a pickle begins
        if path.suffix in (".yaml", "") or path.name == "MLmodel":
            assert str(spec["base_checkpoint_dir"]) not in path.read_text()


def test_run_and_version_tell_where_it_came_from(spec: dict[str, Any], tmp_path: Path) -> None:
    result = run(spec, tmp_path)
    registry = Registry(spec["tracking_uri"], Path(spec["artifact_root"]))
    version = registry.get(spec["name"], "1")
    assert version.tags["phoundry.job"] == spec["job"]
    assert version.tags["phoundry.training_data"] == "faq:1"
    found: Any = registry.client.get_run(result["run_id"])
    assert found.data.params["lora_r"] == "4"
    assert found.data.metrics["eval_loss"] == 1.25
    assert found.data.metrics["merge_logit_error"] < found.data.metrics["merge_logit_change"]
    assert found.info.status == "FINISHED"
    described: Any = registry.client.get_model_version(spec["name"], "1")
    assert described.description == "Answers about permits."
    assert described.status == "READY"


def test_the_same_job_makes_one_version(spec: dict[str, Any], tmp_path: Path) -> None:
    first = run(spec, tmp_path)
    assert run(spec, tmp_path) == first
    again = run({**spec, "job": "another"}, tmp_path)
    assert again["version"] == "2"
    assert again["sha256"] == first["sha256"]


def test_a_registration_cut_short_goes_on(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(register, "write_package", killed)
        with pytest.raises(Killed):
            run(spec, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "publish", killed)
        with pytest.raises(Killed):
            run(spec, tmp_path)
    registry = Registry(spec["tracking_uri"], Path(spec["artifact_root"]))
    assert registry.versions(spec["name"]) == []
    assert run(spec, tmp_path)["version"] == "1"
    experiment: Any = registry.client.get_experiment_by_name("phoundry")
    runs = registry.client.search_runs(
        [experiment.experiment_id], f"tags.`phoundry.job` = '{spec['job']}'"
    )
    assert len(runs) == 1


def test_a_full_model_is_registered_as_it_is(
    spec: dict[str, Any], tiny: Maker, tmp_path: Path
) -> None:
    trained = tiny("phi3", hidden_size=32)
    del spec["adapter_dir"]
    result = run({**spec, "model_dir": str(trained)}, tmp_path)
    assert result["sha256"] == sha256_weights(trained)


def test_a_wrong_merge_registers_nothing(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_training(base: Path, adapter: Path, folder: Path) -> str:
        from phoundry.models.checkpoints import copy_checkpoint

        copy_checkpoint(base, folder)
        return "0" * 64

    monkeypatch.setattr(register, "merge", without_training)
    with pytest.raises(ModelError, match="does not compute"):
        run(spec, tmp_path)
    registry = Registry(spec["tracking_uri"], Path(spec["artifact_root"]))
    assert registry.versions(spec["name"]) == []


def outside(spec: dict[str, Any], path: Path, base: Path | None = None) -> dict[str, Any]:
    """The spec of a model that was trained elsewhere."""
    kept = ("name", "tracking_uri", "artifact_root", "description")
    with_base = {"base_checkpoint_dir": str(base), "base_model": "tiny"} if base else {}
    return {**{key: spec[key] for key in kept}, "path": str(path), **with_base}


def test_a_folder_trained_elsewhere_answers_a_chat(
    spec: dict[str, Any], tiny: Maker, copy: Any, tmp_path: Path
) -> None:
    import mlflow

    result = run(outside(spec, tiny("qwen3")), tmp_path)
    checkpoint = Path(result["checkpoint_dir"])
    assert result["sha256"] == sha256_weights(tiny("qwen3"))
    reply = mlflow.pyfunc.load_model(result["uri"]).predict({"messages": MESSAGES, "max_tokens": 8})
    assert reply["choices"][0]["message"]["content"] == greedy(checkpoint, 8)
    tags = Registry(spec["tracking_uri"], Path(spec["artifact_root"])).get(spec["name"], "1").tags
    assert tags["phoundry.path"] == str(tiny("qwen3"))
    assert tags["phoundry.kind"] == "folder"
    assert "phoundry.job" not in tags
    # The same bytes from another place are the same version; other bytes are the next one.
    twin = copy(tiny("qwen3"))
    assert run(outside(spec, twin), tmp_path) == result
    assert run(outside(spec, tiny("qwen3", seed=3)), tmp_path)["version"] == "2"


def test_an_adapter_and_a_gguf_trained_elsewhere(
    spec: dict[str, Any], tiny: Maker, adapter: Maker, tmp_path: Path
) -> None:
    from phoundry.models.convert import convert

    base = tiny("llama")
    merged = run(outside(spec, adapter(base), base), tmp_path)
    convert(Path(merged["checkpoint_dir"]), tmp_path / "merged.gguf", "BF16")
    again = run(outside(spec, tmp_path / "merged.gguf"), tmp_path)
    assert (merged["version"], again["version"]) == ("1", "2")
    # The way through GGUF and back is exact: bfloat16 weights, the same tensors.
    assert greedy(Path(again["checkpoint_dir"]), 8) == greedy(Path(merged["checkpoint_dir"]), 8)
    registry = Registry(spec["tracking_uri"], Path(spec["artifact_root"]))
    assert [each.tags["phoundry.kind"] for each in registry.versions(spec["name"])] == [
        "adapter",
        "gguf",
    ]


def test_a_base_that_changed_is_not_merged_into(
    spec: dict[str, Any], tiny: Maker, copy: Any, tmp_path: Path
) -> None:
    base = copy(tiny("phi3"))
    spec.update(base_checkpoint_dir=str(base), base_sha256=sha256_weights(base))
    with (base / "model.safetensors").open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(b"\x00\x01")
    with pytest.raises(ModelError, match="have changed since they were recorded"):
        run(spec, tmp_path)


def test_bad_specs(spec: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no model name"):
        run({**spec, "name": "../x"}, tmp_path)
    with pytest.raises(InvalidInput, match="left no adapter"):
        run({**spec, "adapter_dir": str(tmp_path)}, tmp_path)


def test_the_code_of_a_model_stands_alone() -> None:
    tree = ast.parse(Path(chat_model.__file__).read_text())
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not [name for name in imported if name and name.startswith("phoundry")]


@pytest.mark.slow
def test_two_registrations_at_once(
    spec: dict[str, Any], tiny: Maker, adapter: Maker, tmp_path: Path
) -> None:
    """In a home that has no database yet, in two processes."""
    spec["tracking_uri"] = f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}"
    spec["artifact_root"] = str(tmp_path / "mlflow" / "artifacts")
    workers: list[subprocess.Popen[bytes]] = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "spec.json").write_text(json.dumps({**spec, "job": f"job-{number}"}))
        command = [sys.executable, *WATCH, "-m", "phoundry.models.register", str(folder)]
        with (folder / "log.txt").open("wb") as log:
            workers.append(subprocess.Popen(command, stderr=log))
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    seen = heavy_imports((tmp_path / "0" / "log.txt").read_text())
    assert not seen & {"sklearn.base", "peft"}
    assert {"torch", "transformers", "mlflow"} <= seen
    results = [json.loads((tmp_path / str(n) / "result.json").read_text()) for n in range(2)]
    assert {result["version"] for result in results} == {"1", "2"}
    assert len({result["checkpoint_dir"] for result in results}) == 2


def test_the_adapter_is_kept_beside_the_merged_model(spec: dict[str, Any], tmp_path: Path) -> None:
    from phoundry.models.adapter import kept, kept_base, read_adapter

    found = run({**spec, "base_sha256": None}, tmp_path)
    folder = kept(Path(found["checkpoint_dir"]))
    assert folder is not None
    assert kept_base(folder) is None
    assert read_adapter(folder).keys() == read_adapter(Path(spec["adapter_dir"])).keys()
    assert kept(Path(spec["base_checkpoint_dir"])) is None
