"""`phoundry train` and `phoundry job`, against a fake control plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phoundry.cli.jobs import override
from tests.cli.conftest import Shell
from tests.client.fake_api import FakeApi

TRAIN = ["train", "smollm2", "faq:1", "--name", "job-1"]
HALF = {"step": 1, "max_steps": 2, "loss": 2.5, "tokens_per_second": 300.0, "seconds_left": 70}
DONE = {"step": 2, "max_steps": 2, "loss": 1.25, "eval_loss": 1.5}


def test_train_follows_the_job_to_its_end(shell: Shell, api: FakeApi) -> None:
    api.job_states = [
        {"status": "Running", "progress": HALF},
        {"status": "Completed", "progress": DONE, "metrics": {"eval_loss": 1.5}},
    ]
    done = shell(*TRAIN, "--set", "learning_rate=5e-4", "lora_r=16")
    assert done.code == 0
    assert "step 1/2, loss 2.500, 300 tokens/s, 1 min 10 s left" in done.err
    assert "step 2/2, loss 1.250, validation 1.500" in done.err
    assert "Next: phoundry model register NAME --job job-1" in done.err
    assert "learning_rate = 5e-4  (user)" in done.out
    sent = api.resources["jobs"]["job-1"]
    assert sent["parameters"] == {"learning_rate": "5e-4", "lora_r": "16"}


def test_train_as_json_prints_the_finished_job_alone(shell: Shell, api: FakeApi) -> None:
    api.job_states = [{"status": "Completed"}]
    done = shell(*TRAIN, "-o", "json")
    assert (done.code, done.err) == (0, "")
    assert done.json["status"] == "Completed"


def test_a_failed_job_fails_the_command_with_its_error(shell: Shell, api: FakeApi) -> None:
    error = {"code": "InsufficientResources", "message": "Needs 9 GB, 4 are free."}
    api.job_states = [{"status": "Failed", "error": error}]
    done = shell(*TRAIN)
    assert done.code == 1
    assert "Error: Needs 9 GB, 4 are free." in done.err
    assert shell(*TRAIN, "-o", "json").error["code"] == "InsufficientResources"


def test_a_canceled_job_is_no_success(shell: Shell, api: FakeApi) -> None:
    api.job_states = [{"status": "Canceled"}]
    assert shell(*TRAIN).code == 1


def test_ctrl_c_leaves_the_job_running_and_says_how_to_cancel(
    shell: Shell, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("phoundry.client.jobs.Jobs.wait", interrupted)
    done = shell(*TRAIN)
    assert done.code == 130
    assert "Cancel it: phoundry job cancel job-1" in done.err
    assert ("POST", "/api/jobs/job-1/cancel") not in api.seen


def test_detached(shell: Shell, api: FakeApi) -> None:
    done = shell(*TRAIN, "--detach", "-o", "json")
    assert (done.code, done.json["status"]) == (0, "Queued")


def test_help_lists_every_parameter_with_its_range(shell: Shell) -> None:
    from phoundry.specs.finetune import FineTuneParameters

    text = shell("train", "--help").out
    for name in FineTuneParameters.model_fields:
        assert f"\n    {name} = " in text
    share = "Share of the adapters' input that is dropped in training"
    assert f"lora_dropout = 0.0  (≥ 0, < 1; {share})" in text


def test_create_from_a_file(shell: Shell, api: FakeApi, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(
        "$schema: https://example.org/x.json\ntype: finetuning\nname: job-2\nmodel: m\n"
        "training_data: faq:1\nhyperparameters:\n  lora_r: 4\n  learning_rate: 0.1\n"
    )
    words = ["job", "create", "-f", str(file), "--set", "lora_r=8", "-o", "json"]
    made = shell(*words)
    assert made.code == 0
    assert made.json["parameters"] == {"lora_r": "8", "learning_rate": 0.1}
    api.job_states = [{"status": "Completed"}]
    assert shell("job", "create", "-f", str(file), "--stream", "-o", "json").json["status"] == (
        "Completed"
    )


def test_faults_of_a_file_come_with_their_lines(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("type: finetuning\nmodel: m\ntraning_data: faq\n")
    outcome = shell("job", "create", "-f", str(file), "-o", "json")
    assert outcome.code == 1
    assert {fault["where"] for fault in outcome.error["faults"]} == {f"{file}:1", f"{file}:3"}


def test_overrides_go_where_they_belong() -> None:
    document = {"model": "m", "parameters": {"lora_r": 4}, "tags": {"a": "1"}}
    values = {"model": "n", "lora_alpha": "8", "parameters.seed": "1", "tags.b": "2"}
    assert override(document, values) == {
        "model": "n",
        "hyperparameters": {"lora_r": 4, "lora_alpha": "8", "seed": "1"},
        "tags": {"a": "1", "b": "2"},
    }
    assert document["parameters"] == {"lora_r": 4}


def test_list_show_logs_cancel(shell: Shell, api: FakeApi) -> None:
    assert "phoundry train" in shell("job", "list").err
    shell(*TRAIN, "--detach")
    assert "job-1" in shell("job", "list").out
    assert shell("job", "show", "job-1", "-o", "json").json["model"] == "smollm2"
    assert shell("job", "logs", "job-1").out == api.log
    assert shell("job", "logs", "job-1", "-f").out == api.log
    assert "CancelRequested" in shell("job", "cancel", "job-1").out
    missing = shell("job", "show", "job-2")
    assert missing.code == 1
    assert "Did you mean job-1?" in missing.err


def test_pause_and_checkpoints(shell: Shell, api: FakeApi) -> None:
    shell(*TRAIN, "--detach")
    paused = shell("job", "pause", "job-1")
    assert (paused.code, "PauseRequested" in paused.out) == (0, True)
    assert "Next: phoundry job resume job-1" in paused.err
    none = shell("job", "checkpoints", "job-1")
    assert (none.code, none.out) == (0, "")
    assert "no checkpoint yet" in none.err
    time = "2026-11-22T12:00:00+00:00"
    api.curves["checkpoints"] = [
        {"step": 20, "best": True, "bytes": 303_000_000, "time": time},
        {"step": 40, "bytes": 303_000_000, "time": time},
    ]
    rows = shell("job", "checkpoints", "job-1").out.splitlines()
    assert rows[0].split() == ["STEP", "BEST", "SIZE", "WRITTEN"]
    assert [row.split()[:4] for row in rows[1:]] == [
        ["20", "yes", "303", "MB"],
        ["40", "no", "303", "MB"],
    ]
