"""When a replica is asked and what its answers mean, against Azure's rules told in other words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from phoundry.services.reconcile.probing import Question, Schedule, Target, answered, begin
from phoundry.specs.probe import Probe

PROBES = st.builds(
    Probe,
    initial_delay=st.integers(0, 30),
    period=st.integers(1, 20),
    timeout=st.integers(1, 5),
    success_threshold=st.integers(1, 4),
    failure_threshold=st.integers(1, 4),
)
ANSWERS = st.lists(st.booleans(), max_size=30)
FAST = Probe(initial_delay=0, period=1, failure_threshold=2)


def by_the_book(probe: Probe, answers: list[bool], good: bool) -> bool:
    """The last run of equal answers that was long enough decides."""
    for end in range(len(answers), 0, -1):
        for kind, enough in ((True, probe.success_threshold), (False, probe.failure_threshold)):
            if end >= enough and all(each is kind for each in answers[end - enough : end]):
                return kind
    return good


@given(PROBES, ANSWERS, st.booleans())
def test_a_verdict_is_that_of_the_last_long_enough_run(
    probe: Probe, answers: list[bool], good: bool
) -> None:
    state = begin(probe, 0.0, 0.0, good=good)
    for number, success in enumerate(answers):
        state = answered(probe, state, success, float(number))
        assert state.good is by_the_book(probe, answers[: number + 1], good)
        assert not (state.successes and state.failures)


@given(PROBES, st.floats(0, 100), st.floats(0, 100))
def test_the_first_question_waits_for_the_start_and_the_next_for_a_period(
    probe: Probe, started: float, late: float
) -> None:
    state = begin(probe, started, started)
    assert state.due == started + probe.initial_delay
    adopted = begin(probe, started, started + probe.initial_delay + late)
    assert adopted.due == started + probe.initial_delay + late
    assert answered(probe, state, True, state.due).due == state.due + probe.period


def run(schedule: Schedule, replies: dict[str, bool], until: float) -> list[Question]:
    """Every question until a time, answered at once."""
    asked: list[Question] = []
    while (due := schedule.next_due()) is not None and due <= until:
        for question in schedule.due(due):
            asked.append(question)
            schedule.answer(question, replies[question.key])
    return asked


def target(live: Probe = FAST, ready: Probe = FAST, *, rotated: bool = True) -> Target:
    return Target(1, live, ready, started=0.0, rotated=rotated)


def test_each_replica_has_a_verdict_of_its_own() -> None:
    schedule = Schedule()
    schedule.watch({"good": target(), "bad": target()}, 0.0)
    run(schedule, {"good": True, "bad": False}, 0.5)
    assert schedule.verdicts()["bad"].live, "one failure is not two"
    run(schedule, {"good": True, "bad": False}, 1.5)
    found = schedule.verdicts()
    assert (found["good"].live, found["good"].ready) == (True, True)
    assert (found["bad"].live, found["bad"].ready, found["bad"].live_failures) == (False, False, 2)


def test_no_question_is_put_twice_while_one_is_open() -> None:
    schedule = Schedule()
    schedule.watch({"slow": target()}, 0.0)
    first = schedule.due(0.0)
    assert {question.kind for question in first} == {"live", "ready"}
    assert schedule.due(100.0) == []
    assert schedule.next_due() is None
    schedule.answer(first[0], False)
    assert [question.kind for question in schedule.due(100.0)] == [first[0].kind]


def test_what_is_watched_on_keeps_its_count_and_what_restarted_loses_it() -> None:
    schedule = Schedule()
    schedule.watch({"one/4711": target()}, 0.0)
    run(schedule, {"one/4711": False}, 0.0)
    changed = target(Probe(initial_delay=0, period=1, failure_threshold=3))
    assert schedule.watch({"one/4711": changed}, 0.5)
    assert not schedule.watch({"one/4711": changed}, 0.6), "no news"
    assert schedule.verdicts()["one/4711"].live_failures == 1
    (late,) = [each for each in schedule.due(1.0) if each.kind == "live"]
    schedule.watch({"one/4712": target()}, 1.0)
    assert not schedule.answer(late, False), "nobody waits for that answer any more"
    assert schedule.verdicts().keys() == {"one/4712"}
    assert schedule.verdicts()["one/4712"].live_failures == 0


def test_a_replica_adopted_out_of_rotation_stays_out_until_it_succeeds() -> None:
    schedule = Schedule()
    schedule.watch({"one": target(ready=Probe(success_threshold=2), rotated=False)}, 0.0)
    assert not schedule.verdicts()["one"].ready
    run(schedule, {"one": True}, 15.0)
    assert not schedule.verdicts()["one"].ready
    run(schedule, {"one": True}, 20.0)
    assert schedule.verdicts()["one"].ready
