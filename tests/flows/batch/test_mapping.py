"""Which column fills which input."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.flows.batch.mapping import ColumnMapping
from phoundry.flows.errors import FlowValidationError
from phoundry.flows.model import FlowInput

INPUTS = {"a": FlowInput("string"), "b": FlowInput("string", default="B")}


# Observed with promptflow 1.18.5 (`pf run create`): mapping, rows, inputs of the line.
@pytest.mark.parametrize(
    ("given_", "rows", "expected"),
    [
        ({}, {"data": {"a": 1, "b": 2}}, {"a": 1, "b": "B"}),
        ({"b": "${data.b}"}, {"data": {"a": 1, "b": 2}}, {"a": 1, "b": 2}),
        ({"a": "${data.x}", "c": "lit"}, {"data": {"x": None}}, {"a": None, "b": "B", "c": "lit"}),
        ({"a": "${data.x.y}", "n": 5}, {"data": {"x.y": 1}}, {"a": 1, "b": "B", "n": 5}),
        (
            {"a": "${run.outputs.o}", "b": "${run.inputs.i}"},
            {"run.outputs": {"o": 1}, "run.inputs": {"i": [2]}},
            {"a": 1, "b": [2]},
        ),
        (
            {"a": "${data.a}", "t": "hi ${data.a}"},
            {"data": {"a": 1}},
            {"a": 1, "b": "B", "t": "hi ${data.a}"},
        ),
        ({"a": "${data.a}", "line_number": "${data.a}"}, {"data": {"a": 1}}, {"a": 1, "b": "B"}),
    ],
)
def test_inputs_of_a_line(given_: Any, rows: Any, expected: Any) -> None:
    assert ColumnMapping(given_, INPUTS).line(rows) == (expected, [])


def test_what_the_code_has_a_default_for_is_left_to_it() -> None:
    """Observed with `pf run create`: None stays the function's, though a column has the name."""
    mapping = ColumnMapping({}, {"a": FlowInput("string"), "b": FlowInput("list", optional=True)})
    for row in ({"a": 1}, {"a": 1, "b": [2]}):
        assert mapping.line({"data": row}) == ({"a": 1}, [])
    assert "'b'" in mapping.overlooked({"data": {"a": 1, "b": [2]}})[0]


def test_the_source_with_fewer_dots_is_tried_first() -> None:
    mapping = ColumnMapping({"a": "${run.outputs.x}"}, {})
    rows = {"run": {"outputs.x": "short"}, "run.outputs": {"x": "long"}}
    assert mapping.line(rows)[0] == {"a": "short"}
    assert mapping.line({"run.outputs": {"x": "long"}})[0] == {"a": "long"}


def test_what_no_row_has_is_named() -> None:
    found, missing = ColumnMapping({"a": "${data.x}"}, INPUTS).line({"data": {"y": 1}})
    assert (found, missing) == ({"b": "B"}, ["${data.x}"])


def test_a_column_that_a_default_hides_is_told() -> None:
    inputs = {
        "a": FlowInput("string", "x"),
        "b": FlowInput("string", "y"),
        "c": FlowInput("string"),
    }
    rows = {"data": {"a": 1, "c": 2}}
    mapping = ColumnMapping({}, inputs)
    (told,) = mapping.overlooked(rows)
    assert "--column-mapping a='${data.a}'" in told
    assert mapping.line(rows)[0] == {"a": "x", "b": "y", "c": 2}
    assert ColumnMapping({"a": "${data.a}"}, inputs).overlooked(rows) == []


def test_a_mapping_without_a_reference_is_refused() -> None:
    with pytest.raises(FlowValidationError, match="all static values"):
        ColumnMapping({"a": "x", "b": 2}, INPUTS)


plain_text = st.text().filter(lambda text: not text.startswith("${"))
literals = st.one_of(st.integers(), plain_text, st.lists(st.booleans()), st.none())


@given(st.dictionaries(st.text().filter(lambda name: name != "line_number"), literals))
def test_literals_reach_every_line_as_they_are(values: dict[str, Any]) -> None:
    mapping = ColumnMapping({**values, "taken": "${data.a}"}, {})
    assert mapping.line({"data": {"a": 1}}) == ({**values, "taken": 1}, [])
