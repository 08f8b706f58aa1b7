"""`phoundry job plan` and `phoundry train --plan`, against a fake control plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phoundry.cli.job_plan import plan_sheet
from phoundry.specs.job import JobPlan
from tests.cli.conftest import Shell
from tests.client.fake_api import FakeApi

PLAN: dict[str, Any] = {
    "model": "smollm2",
    "training_data": "faq:1",
    "parameters": {"lora_r": 16, "seed": 42, "precision": "16"},
    "sources": {"lora_r": "user", "seed": "default", "precision": "measured"},
    "conversations": 402,
    "truncated": 12,
    "dropped": 3,
    "tokens_per_epoch": 40_707,
    "supervised_tokens_per_epoch": 24_349,
    "epochs": 3.0,
    "steps": 120,
    "tokens": 122_121,
    "choices": [
        {
            "name": "precision",
            "value": "16",
            "why": "faster",
            "measured": {"16": 310.2, "32": 190.0},
        }
    ],
    "tokens_per_second": 310.2,
    "mfu": 0.62,
    "seconds": 394.0,
    "memory_bytes": 2_000_000_000,
    "available_bytes": 9_300_000_000,
    "disk_bytes": 303_000_000,
    "free_disk_bytes": 59_000_000_000,
    "notices": ["Something to know."],
}


@pytest.fixture
def job(tmp_path: Path) -> str:
    file = tmp_path / "job.yaml"
    file.write_text("type: finetuning\nmodel: m\ntraining_data: faq:1\n")
    return str(file)


@pytest.fixture(autouse=True)
def planned(api: FakeApi) -> None:
    api.plannings = [{"preparation": {"message": "Measured: 310 tokens a second"}}, {"plan": PLAN}]


def test_a_plan_is_shown_and_no_job_is_made(shell: Shell, api: FakeApi, job: str) -> None:
    done = shell("job", "plan", "-f", job, "--set", "lora_r=16")
    assert done.code == 0
    assert "▸ Measured: 310 tokens a second" in done.err
    assert "Note: Something to know." in done.err
    assert f"Next: phoundry job create -f {job} --set lora_r=16" in done.err
    assert done.out == (
        "model          smollm2\n"
        "training data  faq:1\n"
        "conversations  402; 12 cut to the length allowed, 3 left out, too long\n"
        "tokens         40,707 an epoch, 24,349 of them learnt; 122,121 in all\n"
        "steps          120 (3 epochs)\n"
        "time           about 6 min 34 s (310 tokens/s, 62% of what the machine can)\n"
        "memory         about 2.0 GB; 9.3 GB can be had\n"
        "disk           about 303 MB; 59 GB are free\n"
        "chosen         precision = 16: faster (16: 310, 32: 190 tokens/s)\n"
        "parameters     lora_r = 16  (user)\n"
        "               precision = 16  (measured)\n"
        "\n"
        "It fits.\n"
    )
    assert api.resources == {}
    assert api.seen[-1] == ("DELETE", "/api/job-plans/p1")


def test_what_does_not_fit_fails_with_what_would(shell: Shell, api: FakeApi, job: str) -> None:
    plan = PLAN | {"fits": False, "would_fit": ["max_seq_length=512: 1.9 GB", "lora_r=4: 2.0 GB"]}
    api.plannings = [{"plan": plan}]
    done = shell("job", "plan", "-f", job)
    assert done.code == 1
    assert done.out.endswith(
        "It does not fit.\nThis would:\n  max_seq_length=512: 1.9 GB\n  lora_r=4: 2.0 GB\n"
    )
    assert "job create" not in done.err
    said = shell("job", "plan", "-f", job, "-o", "json")
    assert (said.code, said.err, said.json["fits"]) == (1, "", False)


def test_as_json_it_is_one_document(shell: Shell, job: str) -> None:
    done = shell("job", "plan", "-f", job, "-o", "json")
    assert (done.code, done.err) == (0, "")
    assert (done.json["steps"], done.json["choices"][0]["value"]) == (120, "16")


def test_who_stops_waiting_stops_the_measuring(
    shell: Shell, api: FakeApi, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("phoundry.client.jobs.wait_for", interrupted)
    assert shell("job", "plan", "-f", job).code == 130
    assert api.seen[-1] == ("DELETE", "/api/job-plans/p1")


def test_train_can_be_planned(shell: Shell, api: FakeApi) -> None:
    words = ["train", "smollm2", "faq:1", "--validation", "law", "--set", "lora_r=16"]
    done = shell(*words, "--plan")
    assert (done.code, "It fits." in done.out) == (0, True)
    assert f"Next: phoundry {' '.join(words)}" in done.err
    assert "jobs" not in api.resources


def test_faults_of_a_file_are_told_before_anything_is_asked(
    shell: Shell, api: FakeApi, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("type: finetuning\nmodel: m\ntraning_data: faq\n")
    done = shell("job", "plan", "-f", str(file), "-o", "json")
    assert done.code == 1
    assert {fault["where"] for fault in done.error["faults"]} == {f"{file}:1", f"{file}:3"}
    assert shell("job", "plan", "-f", str(tmp_path / "none.yaml")).code == 1
    assert api.seen == []


def test_what_could_not_be_measured_is_left_out() -> None:
    text = plan_sheet(JobPlan(model="m", training_data="faq:1", conversations=8, epochs=1.0))
    assert "conversations  8; all of them whole" in text
    assert "(1 epoch)" in text
    for name in ("time", "memory", "disk", "chosen"):
        assert f"\n{name} " not in text
