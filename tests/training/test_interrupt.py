"""Being told to stop: at once in a block that may be left, later everywhere else."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest

from phoundry.errors import Cancelled
from phoundry.training.interrupt import StopSwitch


@pytest.fixture
def switch() -> Generator[StopSwitch]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    made = StopSwitch()
    made.listen()
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_block_that_may_be_left_is_left_at_once(
    number: signal.Signals, switch: StopSwitch
) -> None:
    done: list[str] = []
    with pytest.raises(Cancelled, match=f"Stopped by {number.name}"), switch.abandoning():
        done.append("begun")
        os.kill(os.getpid(), number)
        done.append("finished")
    assert done == ["begun"]


def test_elsewhere_it_is_remembered_until_the_next_such_block(switch: StopSwitch) -> None:
    written: list[str] = []
    os.kill(os.getpid(), signal.SIGTERM)
    written.append("whole")
    entered: list[str] = []
    with pytest.raises(Cancelled), switch.abandoning():
        entered.append("never")
    assert (written, entered) == (["whole"], [])
    with pytest.raises(Cancelled):
        switch.check()


def test_a_second_signal_changes_nothing(switch: StopSwitch) -> None:
    with pytest.raises(Cancelled), switch.abandoning():
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Cancelled, match="SIGTERM"):
        switch.check()


def test_the_reason_is_asked_when_it_is_needed() -> None:
    told: list[str] = []

    def reason() -> str:
        told.append("asked")
        return "cancel"

    made = StopSwitch(reason)  # type: ignore[arg-type]
    made.press("a test")
    assert told == []
    assert made.reason() == "cancel"


def test_a_block_that_ends_well_is_closed(switch: StopSwitch) -> None:
    with switch.abandoning():
        pass
    os.kill(os.getpid(), signal.SIGTERM)  # raises nothing here
    with pytest.raises(Cancelled):
        switch.check()
