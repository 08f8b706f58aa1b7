"""Which process takes whose place, without any process."""

from __future__ import annotations

import io
import queue
import socket
from typing import Any

import pytest

from phoundry.serving.flow import supervisor
from phoundry.serving.flow.child import LONGEST_LINE, pump
from phoundry.serving.flow.opening import Opening
from phoundry.serving.flow.supervisor import Supervisor


class Process:
    """What a `Child` looks like from here."""

    made: list[Process]

    def __init__(self, *_: Any) -> None:
        self.began, self.ready, self.told_to_go = 0.0, False, False
        self.made.append(self)

    def terminate(self) -> None:
        self.told_to_go = True

    def wait(self, seconds: float) -> bool:
        return True


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Process]:
    monkeypatch.setattr(supervisor, "Child", Process)
    Process.made = []
    return Process.made


def test_a_stuck_process_goes_though_its_first_successor_died(made: list[Process]) -> None:
    with socket.socket() as listener:
        kept = Supervisor(Opening("flow"), listener)
        tell: Any = kept._heard  # pyright: ignore[reportPrivateUsage]
        stuck: Any = kept._spawn()  # pyright: ignore[reportPrivateUsage]
        tell(stuck, {"event": "stuck"})
        tell(made[1], {"event": "gone", "code": -9})
        assert (len(made), stuck.told_to_go) == (3, False)
        tell(made[2], {"event": "ready"})
        assert stuck.told_to_go


def test_a_signal_that_comes_just_as_waiting_begins_is_heard(
    made: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wakes nobody, and its handler runs when the wait is over."""

    class Deaf:
        waited = 0

        def get(self, timeout: float | None = None) -> tuple[None, dict[str, str]]:
            assert timeout is not None
            self.waited += 1
            if self.waited == 1:
                raise queue.Empty
            return None, {"event": "stop"}

    with socket.socket() as listener:
        kept = Supervisor(Opening("flow"), listener)
        monkeypatch.setattr(kept, "_messages", Deaf())
        kept.run()


def test_what_it_prints_is_told_in_bounded_pieces_without_secrets() -> None:
    lines = ["one\n", "x" * (LONGEST_LINE - 4) + "pa/ss-wörd" + "y" * LONGEST_LINE, "\n", "last pa"]
    told: list[str] = []
    pump(io.BytesIO("".join(lines).encode()), ["pa/ss-wörd"], told.append)
    assert told[0] == "one\n"
    assert max(map(len, told)) <= LONGEST_LINE + 100
    assert "".join(told) == "".join(lines).replace("pa/ss-wörd", "***")
