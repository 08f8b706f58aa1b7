"""Conditions: comparisons, groups, and values that a bypassed node does not give."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.flows.errors import ConditionError
from phoundry.flows.extensions.conditions import GROUPS, OPERATORS, UNKNOWN, compare, met
from phoundry.flows.extensions.keys import Comparison, Condition, Group
from phoundry.flows.extensions.parse import CONDITION_KEYS
from phoundry.flows.reference import InputReference, Literal
from tests.flows.extensions.conftest import Run, node


@pytest.mark.parametrize(
    ("operator", "found", "expected", "result"),
    [
        ("is", 1, True, True),
        ("is", "1", 1, False),
        ("is_not", "1", 1, True),
        ("greater_than", 3, 2.5, True),
        ("greater_than", 2, 2, False),
        ("at_least", 2, 2, True),
        ("less_than", "a", "b", True),
        ("at_most", 3, 2, False),
        ("in", "b", ["a", "b"], True),
        ("not_in", "c", ["a", "b"], True),
        ("contains", "a sentence", "sent", True),
        ("contains", ["x"], "y", False),
        ("contains", {"k": 1}, "k", True),
        ("matches", "order 66", r"\d+$", True),
        ("matches", "order", r"^\d", False),
        ("is_empty", [], True, True),
        ("is_empty", None, True, True),
        ("is_empty", "x", True, False),
        ("is_empty", 0, True, False),
        ("is_empty", {}, False, False),
    ],
)
def test_comparisons(operator: str, found: Any, expected: Any, result: bool) -> None:
    assert compare(operator, found, expected) is result


def test_every_word_of_a_condition_tells_it_from_a_plain_one() -> None:
    assert {*GROUPS, *OPERATORS} - {"is"} == CONDITION_KEYS


@pytest.mark.parametrize(
    ("operator", "found", "expected"),
    [("greater_than", "3", 2), ("contains", 3, 1), ("matches", 3, "x"), ("in", [], {})],
)
def test_what_cannot_be_compared(operator: str, found: Any, expected: Any) -> None:
    with pytest.raises(ConditionError, match=f"can't compare {type(found).__name__} with"):
        compare(operator, found, expected)


LEAVES = [Comparison(InputReference(name), "is", Literal(True)) for name in "abc"]
CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: (
        st.builds(
            lambda kind, members: Group(kind, tuple(members)),
            st.sampled_from(["any", "all"]),
            st.lists(inner, min_size=1, max_size=3),
        )
        | st.builds(lambda member: Group("not", (member,)), inner)
    ),
    max_leaves=6,
)


def possible(condition: Condition, values: dict[str, bool]) -> bool:
    """By Python's own words."""
    if isinstance(condition, Comparison):
        assert isinstance(condition.when, InputReference)
        return values[condition.when.name]
    results = [possible(member, values) for member in condition.members]
    return {"any": any(results), "all": all(results), "not": not results[0]}[condition.kind]


@given(CONDITIONS, st.lists(st.sampled_from([True, False, None]), min_size=3, max_size=3))
def test_an_answer_with_unknowns_holds_for_whatever_they_are(
    condition: Condition, given_values: list[bool | None]
) -> None:
    values = dict(zip("abc", given_values, strict=True))

    def read(reference: Any) -> Any:
        if isinstance(reference, Literal):
            return reference.value
        return UNKNOWN if values[reference.name] is None else values[reference.name]

    answer = met(condition, read)
    unknown = [name for name, value in values.items() if value is None]
    worlds = [
        {**values, **{name: bool(bits >> place & 1) for place, name in enumerate(unknown)}}
        for bits in range(2 ** len(unknown))
    ]
    results = {possible(condition, world) for world in worlds}  # type: ignore[arg-type]
    if answer is not None:
        assert results == {answer}
    else:
        assert unknown


@pytest.mark.parametrize(
    ("activate", "given_q", "status"),
    [
        ("{when: '${inputs.q}', greater_than: 2}", 3, "Completed"),
        ("{when: '${inputs.q}', greater_than: 2}", 2, "Bypassed"),
        ("{when: '${inputs.q}', at_most: '${a.output}'}", 1, "Completed"),
        ("{any: [{when: '${off.output}', is: 1}, {when: '${inputs.q}', in: [1]}]}", 1, "Completed"),
        ("{all: [{when: '${off.output}', is: 1}, {when: '${inputs.q}', in: [1]}]}", 1, "Bypassed"),
        ("{not: {when: '${off.output}', is: 1}}", 1, "Bypassed"),
        ("{not: {when: '${inputs.q}', is: 1}}", 2, "Completed"),
    ],
)
def test_as_nodes_run(run: Run, activate: str, given_q: int, status: str) -> None:
    nodes = (
        node("a", x=1)
        + node("off", "  activate: {when: '${inputs.q}', is: never}\n")
        + node("n", f"  activate: {activate}\n", x="${a.output}")
    )
    assert run(nodes, given={"q": given_q}).nodes["n"] == status


def test_a_comparison_that_fails_is_the_nodes_failure(run: Run) -> None:
    more = "  activate: {when: '${inputs.q}', less_than: x}\n"
    outcome = run(node("n", more), given={"q": 3})
    assert outcome.error is not None
    assert outcome.error.codes == ["UserError", "ConditionError"]
    assert outcome.nodes == {"n": "Failed"}


def test_values_whose_comparison_fails_are_an_error_of_the_condition() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("ambiguous")

        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(ConditionError, match="ambiguous"):
        compare("in", Odd(), [1])
