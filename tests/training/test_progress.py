"""Speed, share of the machine, time left, and when the curves get an entry."""

from __future__ import annotations

from typing import Any

import pytest

from phoundry.training.checkpoints.state import Tally
from phoundry.training.evaluation.stopping import Standing
from phoundry.training.progress import HEARTBEAT_SECONDS, Meter
from tests.training.conftest import Recorder


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("phoundry.training.progress.time.monotonic", lambda: now[0])
    return now


def _meter(recorder: Recorder, **values: Any) -> Meter:
    return Meter(
        **{"max_steps": 10, "total_tokens": 1000, "every_steps": 4, **values}, reporter=recorder
    )


def _step(meter: Meter, tally: Tally, step: int, *, loss: float = 2.0, **values: Any) -> None:
    tally.add(tokens=100, targets=50, loss_sum=loss * 50)
    meter.count(tokens=100, seconds=2.0)
    told = {"evaluations_left": 0, "writing": 0.0, "epoch_end": step % 5 == 0, **values}
    meter.report(tally, step=step, epoch=step / 5, learning_rate=1e-3, **told)


def test_entries_come_at_steps_that_do_not_depend_on_where_it_began(
    clock: list[float], recorder: Recorder
) -> None:
    meter, tally = _meter(recorder), Tally()
    for step in range(1, 11):
        _step(meter, tally, step, loss=float(step))
    told = recorder.of("progress")
    assert [data["step"] for data in told] == [4, 8, 10]
    assert [data["loss"] for data in told] == [2.5, 6.5, 9.5]  # means since the entry before
    resumed, later = Meter(10, 1000, Recorder(), 4), Tally()
    assert [step for step in range(7, 11) if resumed.due(step, epoch_end=False)] == [8, 10]
    assert later.logged_targets == 0


def test_by_epoch_entries_come_at_its_ends(clock: list[float], recorder: Recorder) -> None:
    meter, tally = _meter(recorder, every_steps=None), Tally()
    for step in range(1, 11):
        _step(meter, tally, step)
    assert [data["step"] for data in recorder.of("progress")] == [5, 10]


def test_a_sign_of_life_in_between_is_no_entry_and_takes_nothing_from_the_next(
    clock: list[float], recorder: Recorder
) -> None:
    meter, tally = _meter(recorder), Tally()
    _step(meter, tally, 1, loss=1.0)
    clock[0] += HEARTBEAT_SECONDS
    _step(meter, tally, 2, loss=3.0)
    _step(meter, tally, 3, loss=5.0)
    _step(meter, tally, 4, loss=7.0)
    told = [(data["step"], data["logged"], data["loss"]) for data in recorder.of("progress")]
    assert told == [(2, False, 2.0), (4, True, 4.0)]


def test_the_time_left_counts_training_evaluations_and_writing(
    clock: list[float], recorder: Recorder
) -> None:
    meter, tally = _meter(recorder), Tally()
    meter.evaluation_seconds = 7.0
    for step in range(1, 5):
        _step(meter, tally, step, evaluations_left=3, writing=0.25)
    (told,) = recorder.of("progress")
    assert told["tokens_per_second"] == 50
    # 600 tokens at 50 a second, a quarter of that for checkpoints, three evaluations.
    assert told["seconds_left"] == 12 * 1.25 + 21


def test_speed_follows_a_machine_that_got_busy(clock: list[float], recorder: Recorder) -> None:
    meter, tally = _meter(recorder), Tally()
    meter.count(tokens=5000, seconds=50.0)
    meter.count(tokens=100, seconds=70.0)
    _step(meter, tally, 4)
    assert recorder.of("progress")[0]["tokens_per_second"] == pytest.approx(200 / 72)
    assert meter.rate() == pytest.approx(5200 / 122)


def test_mfu_is_the_share_of_the_machines_best_rate(clock: list[float], recorder: Recorder) -> None:
    meter, tally = _meter(recorder, flops_per_token=3e8, flops_per_second_limit=1e11), Tally()
    for step in range(1, 5):
        _step(meter, tally, step)
    assert recorder.of("progress")[0]["mfu"] == pytest.approx(50 * 3e8 / 1e11)
    assert "MFU 15%" in recorder.lines[0]
    assert _meter(recorder, flops_per_token=3e8).mfu(50) is None


def test_a_share_of_more_than_all_is_not_told(recorder: Recorder) -> None:
    meter = _meter(recorder, flops_per_token=3e8, flops_per_second_limit=1e10)
    assert (meter.mfu(33), meter.mfu(34)) == (pytest.approx(0.99), None)


def test_what_is_best_so_far_is_shown(clock: list[float], recorder: Recorder) -> None:
    tally = Tally(
        evaluated={"eval_loss": 2.5, "eval_token_accuracy": 0.4},
        standing=Standing(best_step=3, best_metric=2.25),
    )
    _step(_meter(recorder), tally, 4)
    (told,) = recorder.of("progress")
    assert (told["eval_loss"], told["eval_token_accuracy"]) == (2.5, 0.4)
    assert (told["best_step"], told["best_metric"]) == (3, 2.25)
