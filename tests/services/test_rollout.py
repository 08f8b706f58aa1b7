"""The moves of a rollout, whatever order replicas come up in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoundry.services.reconcile.rollout import Member, Wish, plan


class Deployed:
    """Acts as the reconciler does on what `plan` says."""

    def __init__(self, wanted: int, replicas: int) -> None:
        self.wish = Wish(revision=1, live=1, wanted=wanted)
        self.members = [Member(number, 1, "ready") for number in range(replicas)]

    def update(self, gate: str = "skipped") -> None:
        self.wish = replace(self.wish, revision=self.wish.revision + 1, gate=gate)

    def step(self) -> bool:
        """Whether there was something to do."""
        moves = plan(self.members, self.wish)
        numbers = {each.number for each in self.members}
        assert numbers >= set(moves.drain)
        assert len(moves.drain) == len(set(moves.drain))
        if moves.take_into_force:
            self.wish = replace(self.wish, live=self.wish.revision)
        if moves.take_back:
            self.wish = replace(self.wish, revision=self.wish.live, gate="skipped")
        self.members = [each for each in self.members if each.number not in moves.drain]
        free = (n for n in range(100) if n not in numbers)
        self.members += [Member(next(free), revision, "starting") for revision in moves.start]
        return bool(moves.start or moves.drain or moves.take_into_force or moves.take_back)

    def become(self, state: str, *numbers: int) -> None:
        self.members = [
            replace(each, state=state) if each.number in numbers else each for each in self.members
        ]

    def starting(self) -> list[int]:
        return [each.number for each in self.members if each.state == "starting"]

    def settle(self) -> None:
        for _ in range(200):
            if not self.step() and not self.starting():
                return
            self.become("ready", *self.starting())
        raise AssertionError("it never comes to rest")

    def routed(self) -> int:
        return sum(e.state == "ready" and e.revision <= self.wish.live for e in self.members)

    def told(self) -> list[tuple[int, str]]:
        return sorted((each.revision, each.state) for each in self.members)


@settings(deadline=None)
@given(wanted=st.integers(1, 6), order=st.lists(st.integers(-1, 5), max_size=40))
def test_a_rollout_keeps_as_many_serving_as_are_wanted(wanted: int, order: list[int]) -> None:
    """-1: another update in the middle of it."""
    deployed = Deployed(wanted, wanted)
    deployed.update()
    for pick in order:
        if pick < 0:
            deployed.update()
        deployed.step()
        assert deployed.routed() >= wanted
        assert len(deployed.members) <= wanted + 1
        if starting := deployed.starting():
            deployed.become("ready", starting[pick % len(starting)])
    deployed.settle()
    assert deployed.told() == [(deployed.wish.revision, "ready")] * wanted


@settings(deadline=None)
@given(
    replicas=st.integers(0, 5),
    moves=st.lists(
        st.one_of(
            st.tuples(st.just("scale"), st.integers(0, 6)),
            st.tuples(st.just("update"), st.just(0)),
            st.tuples(st.sampled_from(["crashed", "failed", "ready", "unready"]), st.integers(0)),
        ),
        max_size=30,
    ),
)
def test_whatever_happens_it_comes_to_rest(replicas: int, moves: list[tuple[str, int]]) -> None:
    deployed = Deployed(replicas, replicas)
    for kind, value in moves:
        if kind == "scale":
            deployed.wish = replace(deployed.wish, wanted=value)
        elif kind == "update":
            deployed.update()
        elif deployed.members:
            member = deployed.members[value % len(deployed.members)]
            deployed.become(kind, member.number)
        deployed.step()
    # What waits or crashed comes back in the end.
    deployed.become("ready", *(m.number for m in deployed.members if m.state != "failed"))
    deployed.settle()
    assert deployed.wish.live == deployed.wish.revision
    assert {each.revision for each in deployed.members} <= {deployed.wish.live}
    assert len(deployed.members) == deployed.wish.wanted


def test_nothing_of_a_new_revision_serves_before_its_gate() -> None:
    deployed = Deployed(2, 2)
    deployed.update(gate="pending")
    deployed.step()
    deployed.become("ready", 2)
    assert not deployed.step()
    assert (deployed.wish.live, deployed.told()) == (1, [(1, "ready"), (1, "ready"), (2, "ready")])
    deployed.wish = replace(deployed.wish, gate="passed")
    deployed.settle()
    assert deployed.told() == [(2, "ready")] * 2


def test_a_revision_that_failed_is_taken_back_and_leaves_nothing() -> None:
    deployed = Deployed(2, 2)
    deployed.update()
    deployed.step()
    deployed.become("failed", 2)
    deployed.settle()
    assert (deployed.wish.revision, deployed.told()) == (1, [(1, "ready")] * 2)


def test_what_does_not_answer_ends_first_then_the_newest() -> None:
    members = [Member(0, 1, "ready"), Member(1, 1, "failed"), Member(2, 1, "ready")]
    assert plan(members, Wish(1, 1, 2)).drain == [1]
    assert plan(members, Wish(1, 1, 1)).drain == [1, 2]
    assert plan(members, Wish(1, 1, 0)).drain == [1, 2, 0]


def test_what_gave_way_for_memory_is_not_started_again_before_the_end() -> None:
    members = [Member(0, 1, "ready"), Member(2, 2, "waiting")]
    wish = Wish(revision=2, live=1, wanted=2, yielded=1)
    assert plan(members, wish).start == []
    taken_back = Wish(revision=1, live=1, wanted=2)
    assert (plan(members, taken_back).start, plan(members, taken_back).drain) == ([1], [2])


def test_a_revision_with_more_replicas_starts_none_of_the_old_one() -> None:
    members = [Member(0, 1, "ready"), Member(1, 2, "starting")]
    assert plan(members, Wish(revision=2, live=1, wanted=3, keep=1)).start == []
    assert plan(members, Wish(revision=2, live=1, wanted=3)).start == [1, 1]  # the load asks for it
    fewer = Wish(revision=2, live=1, wanted=1, keep=1)
    assert plan([Member(2, 1, "ready"), *members], fewer).drain == [2]


def test_one_that_failed_holds_up_no_other() -> None:
    members = [Member(0, 1, "ready"), Member(1, 1, "ready"), Member(2, 2, "ready")]
    assert plan([*members, Member(3, 2, "failed")], Wish(2, 2, wanted=3)).start == [2]


@pytest.mark.parametrize("state", ["ready", "crashed"])
def test_what_still_serves_of_the_revision_before_survives_a_second_update(state: str) -> None:
    members = [Member(0, 1, "ready"), Member(1, 1, "ready"), Member(2, 2, state)]
    moves = plan(members, Wish(revision=3, live=2, wanted=3))
    assert (moves.start, moves.drain) == ([3], [])


def test_what_gave_way_takes_no_other_with_it_where_fewer_are_wanted() -> None:
    members = [Member(0, 1, "ready"), Member(2, 2, "starting")]
    assert plan(members, Wish(revision=2, live=1, wanted=1, keep=1, yielded=1)).drain == []


def test_one_replica_proves_a_deployment_that_shall_sleep() -> None:
    assert plan([], Wish(1, 1, wanted=0, proven=False)).start == [1]
    assert plan([Member(0, 1, "ready")], Wish(1, 1, wanted=0)).drain == [0]
