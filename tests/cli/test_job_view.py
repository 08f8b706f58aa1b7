"""`phoundry job show`: the curve and the answers below a job's fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.cli.job_view import answers, curve
from phoundry.cli.output import sheet
from phoundry.cli.progress import job_fields
from phoundry.specs.job import Job, MetricPoint, SampleGeneration
from tests.cli.conftest import Shell
from tests.client.fake_api import FakeApi

TRAIN = ["train", "smollm2", "faq:1", "--name", "job-1", "--detach"]
POINTS = [
    {"step": 0, "eval_loss": 3.6},
    {"step": 10, "loss": 3.0, "learning_rate": 1e-4},
    {"step": 20, "loss": 2.0, "eval_loss": 2.5},
    {"step": 30, "loss": 1.0, "eval_loss": 2.9},
]
SAMPLES = [
    {
        "step": 30,
        "prompt": "Do I need a permit\nfor a shed?",
        "answer": "Only above \x1b[2J10 square metres.",
        "reference": "Above 10 square metres you do. " * 9,
    }
]


def test_show_draws_the_losses_and_the_newest_answers(
    shell: Shell, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    api.curves = {"metrics": POINTS, "samples": SAMPLES}
    shell(*TRAIN)
    text = shell("job", "show", "job-1").out
    assert "★ best 2.50 at step 20" in text
    assert "3.60 ┤●" in text
    assert "What it answered at step 30\n  asked     Do I need a permit for a shed?\n" in text
    assert "  said      Only above ␛[2J10 square metres.\n" in text
    (cut,) = [line for line in text.splitlines() if line.startswith("  the data")]
    assert (len(cut), cut[-1]) == (70, "…")
    drawing = text[text.index("3.60 ┤") :]
    assert max(map(len, drawing.splitlines())) <= 70


def test_what_was_measured_is_told_in_words() -> None:
    job = Job.model_validate(
        {
            "name": "job-1",
            "status": "Running",
            "model": "m",
            "training_data": "faq:1",
            "created_at": "2026-01-01T00:00:00Z",
            "choices": [
                {"name": "row_tokens", "value": "512", "why": "faster", "measured": {"512": 1310.0}}
            ],
        }
    )
    assert "row_tokens = 512: faster (512: 1,310 tokens/s)" in sheet(job_fields(job, whole=True))


def test_json_is_the_job_alone(shell: Shell, api: FakeApi) -> None:
    api.curves = {"metrics": POINTS, "samples": SAMPLES}
    shell(*TRAIN)
    api.seen.clear()
    assert shell("job", "show", "job-1", "-o", "json").json["name"] == "job-1"
    assert api.seen == [("GET", "/api/jobs/job-1")]


def test_a_job_with_nothing_to_draw_is_its_fields(shell: Shell, api: FakeApi) -> None:
    api.curves = {"metrics": POINTS[:1]}
    shell(*TRAIN)
    text = shell("job", "show", "job-1").out
    assert "┤" not in text
    assert text.rstrip().splitlines()[-1].startswith("created_at")


def test_the_best_is_the_one_that_the_job_names() -> None:
    points = [MetricPoint.model_validate(point) for point in POINTS]
    from phoundry.cli.curve import BRAILLE

    named = curve(points, 30, width=80, style=BRAILLE)
    assert named[-1].endswith("★ best 2.90 at step 30")


@given(st.lists(st.text(max_size=200), min_size=3, max_size=3), st.integers(20, 120))
def test_answers_never_break_a_terminal(texts: list[str], width: int) -> None:
    prompt, answer, reference = texts
    sample = SampleGeneration(step=1, prompt=prompt, answer=answer, reference=reference)
    lines = answers([sample] * 5, width=width)
    assert len(lines) == 1 + 3 * 3 + 2
    assert all(len(line) <= max(width, 26) for line in lines)
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for line in lines for char in line)


def test_no_answers_no_heading() -> None:
    assert answers([], width=80) == []
