"""How many replicas a load asks for: bounds, order, and that it never flaps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from phoundry.services.reconcile.load import Load
from phoundry.services.reconcile.scaling import decide, needed, quiet_since
from phoundry.specs.scaling import ScaleSettings


def settings(low: int, more: int, target: int, idle: int) -> ScaleSettings:
    return ScaleSettings(
        type="target_utilization",
        min_instances=low,
        max_instances=max(1, low + more),
        target_utilization_percentage=target,
        idle_time_before_scale_down=idle,
    )


SETTINGS = st.builds(
    settings, st.integers(0, 4), st.integers(0, 8), st.integers(1, 100), st.integers(1, 60)
)
LOADS = st.builds(Load, st.integers(0, 40), st.integers(0, 40), st.floats(0, 1000))
SLOTS = st.integers(1, 8)


class Simulated:
    """A deployment whose load changes, looked at once a second."""

    def __init__(self, settings: ScaleSettings, slots: int, wanted: int) -> None:
        self.settings, self.slots, self.wanted = settings, slots, wanted
        self.now = 1000.0
        self.since: float | None = None
        self.history: list[tuple[float, int]] = [(self.now, wanted)]

    def look(self, in_flight: int, last: float = 0.0) -> int:
        self.now += 1
        load = Load(in_flight, 0, last)
        self.since = quiet_since(self.settings, self.wanted, load, self.slots, self.now, self.since)
        ready = self.wanted
        found = decide(self.settings, self.wanted, load, self.slots, ready, self.now, self.since)
        if found != self.wanted:
            self.wanted, self.since = found, None
            self.history.append((self.now, found))
        return found


@given(SETTINGS, st.integers(0, 16), LOADS, SLOTS, st.integers(0, 16), st.none() | st.just(0.0))
def test_the_bounds_hold_from_the_next_look_on_or_it_comes_nearer_to_them(
    rule: ScaleSettings, wanted: int, load: Load, slots: int, ready: int, since: float | None
) -> None:
    found = decide(rule, wanted, load, slots, ready, 2000.0, since)
    assert rule.min_instances <= found <= rule.max_instances


@given(SETTINGS, st.integers(0, 16), LOADS, LOADS, SLOTS)
def test_more_to_do_never_means_fewer(
    rule: ScaleSettings, wanted: int, one: Load, other: Load, slots: int
) -> None:
    less, more = sorted((one, other), key=lambda load: load.in_flight)
    assert needed(rule, less, slots) <= needed(rule, more, slots)
    quiet = [
        decide(rule, wanted, load, slots, wanted, 2000.0,
               quiet_since(rule, wanted, load, slots, 2000.0, 0.0))
        for load in (Load(less.running, less.waiting, 0), Load(more.running, more.waiting, 0))
    ]  # fmt: skip
    assert quiet[0] <= quiet[1]


@given(SETTINGS, LOADS, SLOTS)
def test_it_is_the_least_number_under_the_target(
    rule: ScaleSettings, load: Load, slots: int
) -> None:
    found = needed(rule, load, slots)
    free = rule.model_copy(update={"min_instances": 0, "max_instances": 10_000})
    enough = needed(free, load, slots)
    share = slots * rule.target_utilization_percentage
    assert load.in_flight * 100 <= enough * share
    assert enough == 0 or load.in_flight * 100 > (enough - 1) * share
    assert found == min(max(enough, rule.min_instances), rule.max_instances)


@given(SETTINGS, SLOTS, st.integers(0, 12), st.lists(st.integers(0, 60), max_size=150))
def test_it_goes_up_at_once_and_down_one_by_one_after_the_idle_time(
    rule: ScaleSettings, slots: int, wanted: int, loads: list[int]
) -> None:
    start = min(max(wanted, rule.min_instances), rule.max_instances)
    simulated = Simulated(rule, slots, start)
    for in_flight in loads:
        found = simulated.look(in_flight)
        assert found >= needed(rule, Load(in_flight), slots), "what is asked is there"
    for (before, was), (at, became) in zip(simulated.history, simulated.history[1:], strict=False):
        if became < was:
            assert became == was - 1
            assert at - before >= rule.idle_time_before_scale_down, "no flapping"


@given(SETTINGS, SLOTS, st.integers(0, 60))
def test_a_steady_load_comes_to_rest(rule: ScaleSettings, slots: int, in_flight: int) -> None:
    rule = rule.model_copy(update={"idle_time_before_scale_down": 2})
    simulated = Simulated(rule, slots, rule.max_instances)
    for _ in range(4 * 13):
        simulated.look(in_flight)
    assert simulated.wanted == needed(rule, Load(in_flight), slots)


def test_a_load_faster_than_the_idle_time_ends_nothing() -> None:
    simulated = Simulated(settings(0, 4, 70, 10), 4, 0)
    found = {simulated.look(12 if second % 9 == 0 else 0) for second in range(200)}
    assert found == {0, 4} or found == {4}
    assert simulated.wanted == 4


def test_the_last_replica_goes_an_idle_time_after_the_last_request() -> None:
    rule = settings(0, 3, 70, 10)
    assert decide(rule, 1, Load(0, 0, 995.0), 4, 1, 1000.0, 0.0) == 1, "a short one was missed"
    assert decide(rule, 1, Load(0, 0, 990.0), 4, 1, 1000.0, 0.0) == 0
    assert decide(rule, 0, Load(0, 1, 1000.0), 4, 0, 1000.0, None) == 1, "and comes at once"


def test_nobody_is_ended_while_what_was_asked_for_is_still_coming() -> None:
    rule = settings(1, 3, 70, 10)
    assert decide(rule, 3, Load(1, 0), 4, 2, 1000.0, 0.0) == 3
    assert decide(rule, 3, Load(1, 0), 4, 3, 1000.0, 0.0) == 2
    assert decide(rule, 3, Load(0, 0), 4, 2, 1000.0, 0.0) == 2, "nobody waits for it"


def test_a_clock_that_was_set_back_makes_no_wait_longer() -> None:
    rule = settings(0, 3, 70, 10)
    assert quiet_since(rule, 2, Load(), 4, 100.0, 5000.0) == 100.0
