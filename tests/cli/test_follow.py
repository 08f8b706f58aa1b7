"""What following a job shows while it trains, and how it ends."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from phoundry.cli.display import Bar, displayed
from phoundry.cli.output import Format, Printer
from phoundry.cli.progress import job_bar, progress_detail
from phoundry.specs.base import Preparation
from phoundry.specs.job import Job, Progress
from tests.cli.conftest import Shell
from tests.cli.test_terminal import Screen, on, screen
from tests.client.fake_api import FakeApi

__all__ = ["screen"]
TRAIN = ["train", "smollm2", "faq:1", "--name", "job-1"]
HALF: dict[str, Any] = {
    "step": 40,
    "max_steps": 120,
    "loss": 1.83,
    "eval_loss": 1.91,
    "tokens_per_second": 1310.4,
    "mfu": 0.452,
    "seconds_left": 80,
    "best_step": 30,
}


def job(progress: dict[str, Any], **fields: Any) -> Job:
    return Job(
        name="job-1",
        status="Running",
        model="m",
        training_data="faq:1",
        created_at=datetime(2026, 11, 22, tzinfo=UTC),
        progress=Progress.model_validate(progress),
        **fields,
    )


def test_a_line_has_everything_that_is_known() -> None:
    assert progress_detail(Progress.model_validate(HALF)) == (
        "step 40/120, loss 1.830, validation 1.910, 1,310 tokens/s, MFU 45 %, 1 min 20 s left"
    )
    assert progress_detail(Progress(step=0, max_steps=9)) == "step 0/9"


def test_a_bar_has_the_same() -> None:
    assert job_bar(job(HALF), "Running") == Bar(
        "Running",
        1 / 3,
        "33 %  step 40/120  1 min 20 s left",
        "loss 1.830, validation 1.910, 1,310 tokens/s, MFU 45 %, best at step 30",
    )


def test_no_bar_before_there_are_steps() -> None:
    assert job_bar(job({}), "Preparing") is None
    waiting = Preparation(message="Downloading model.safetensors")
    assert job_bar(job(HALF, preparation=waiting), "Preparing") is None


def test_more_steps_than_planned_do_not_overflow() -> None:
    found = job_bar(job({**HALF, "step": 130}), "Running")
    assert found is not None
    assert found.share == 1.0


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_gets_the_bar_within_its_width(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    bar = job_bar(job(HALF), "Running")
    with on(screen), displayed(Printer(Format.table)) as show:
        show("Running    " + progress_detail(job(HALF).progress), "Running", bar)
        show("Note: [chosen] precision 16", None)
    text = screen.getvalue()
    assert "Note: [chosen] precision 16" in text
    assert "loss 1.830" in text
    assert ("━" in text) == (columns >= 80), "a narrow terminal has no room for it"
    drawn = [line for line in plain(text).splitlines() if "step" in line or "loss" in line]
    assert max(map(len, drawn)) <= columns
    if columns >= 80:
        assert "33 %  step 40/120  1 min 20 s left" in text


def test_what_has_no_end_has_no_bar(screen: Screen) -> None:
    with on(screen), displayed(Printer(Format.table)) as show:
        show("Running", "train", Bar("Running", 0.5, "50 %", "loss 1"))
        show("Preparing  Downloading", "prepare")
    last = plain(screen.getvalue().rpartition("loss 1")[2])
    assert "Preparing  Downloading" in last
    assert "━" not in last


def test_without_a_terminal_lines_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with displayed(Printer(Format.table)) as show:
        show("Running    step 1/2", "Running", Bar("Running", 0.5))
    assert capsys.readouterr().err == "Running    step 1/2\n"


def test_a_paused_job_ends_the_following_with_the_way_on(shell: Shell, api: FakeApi) -> None:
    api.job_states = [
        {"status": "Running", "progress": HALF},
        {"status": "PauseRequested", "progress": HALF},
        {"status": "Paused", "progress": HALF},
    ]
    done = shell(*TRAIN)
    assert done.code == 1, "what comes after training must not begin"
    assert "Next: phoundry job resume job-1" in done.err
    assert "model register" not in done.err
    assert "Paused" in done.out


def test_notices_are_said_when_they_come_and_once(shell: Shell, api: FakeApi) -> None:
    api.job_states = [
        {"status": "Running", "notices": ["2 conversations were cut."]},
        {"status": "Running", "progress": HALF, "notices": ["2 conversations were cut."]},
        {"status": "Completed", "notices": ["2 conversations were cut.", "Stopped early."]},
    ]
    err = shell(*TRAIN).err
    assert err.count("Note: 2 conversations were cut.") == 1
    assert err.count("Note: Stopped early.") == 1


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        ("Completed", 0, "Next: phoundry model register NAME --job job-1"),
        ("Failed", 1, "Error: Needs 9 GB, 4 are free."),
        ("Canceled", 1, "Job job-1 is Canceled."),
        ("Paused", 1, "Next: phoundry job resume job-1"),
    ],
)
def test_a_followed_log_exits_as_the_job_ended(
    shell: Shell, api: FakeApi, status: str, code: int, said: str
) -> None:
    shell(*TRAIN, "--detach")
    error = {"code": "InsufficientResources", "message": "Needs 9 GB, 4 are free."}
    api.job_states = [{"status": status, "error": error if status == "Failed" else None}]
    done = shell("job", "logs", "job-1", "-f")
    assert (done.code, done.out) == (code, api.log)
    assert said in done.err
    assert shell("job", "logs", "job-1").code == 0, "only reading is no judgement"


def plain(text: str) -> str:
    """Text without what moves the cursor or clears lines."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n")
