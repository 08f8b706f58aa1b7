"""Coercion, beside the shared cases: what every value of a kind does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.flows.errors import (
    FlowUserError,
    InputNotFound,
    InputParseError,
    InputTypeError,
    LoadMultimediaDataError,
    UnknownWord,
)
from phoundry.flows.model import FlowInput
from phoundry.flows.values import VALUE_TYPES, check_type, coerce_inputs, parse


def coerce(kind: str, value: Any) -> Any:
    return coerce_inputs({"v": FlowInput(kind)}, {"v": value})["v"]


@given(st.integers())
def test_a_written_int_is_that_int(number: int) -> None:
    assert coerce("int", str(number)) == coerce("int", number) == number


@given(st.lists(st.integers() | st.text() | st.none()))
def test_a_list_and_its_json_are_the_same(value: list[Any]) -> None:
    assert coerce("list", json.dumps(value)) == coerce("list", value) == value


@given(st.text())
def test_an_object_takes_any_text(text: str) -> None:
    found = coerce("object", text)
    try:
        assert found == json.loads(text) or found != found
    except ValueError:
        assert found == text


@given(st.sampled_from(VALUE_TYPES), st.none() | st.text() | st.floats() | st.lists(st.none()))
def test_coercion_fails_only_as_a_flow_does(kind: str, value: Any) -> None:
    try:
        coerce(kind, value)
    except (InputTypeError, InputParseError, LoadMultimediaDataError) as error:
        assert "'v'" in str(error)


@pytest.mark.parametrize(("value", "found"), [("TRUE", True), ("false", False), (True, True)])
def test_bool(value: Any, found: bool) -> None:
    assert coerce("bool", value) is found


@pytest.mark.parametrize("value", [1, 0, "yes", None])
def test_what_is_no_bool(value: Any) -> None:
    with pytest.raises(InputTypeError):
        coerce("bool", value)


def test_a_default_stands_in_for_an_absent_key_only() -> None:
    declared = {"v": FlowInput("string", default="d")}
    assert coerce_inputs(declared, {}) == {"v": "d"}
    assert coerce_inputs(declared, {"v": ""}) == {"v": ""}
    assert coerce_inputs(declared, {"v": None}) == {"v": "None"}
    assert coerce_inputs(declared, {"extra": 1}) == {"extra": 1, "v": "d"}


def test_an_absent_input_without_default_is_named() -> None:
    with pytest.raises(InputNotFound, match="'v' is not provided"):
        coerce_inputs({"v": FlowInput("int")}, {})


def test_an_unknown_type_comes_with_the_nearest() -> None:
    with pytest.raises(UnknownWord, match="Did you mean string"):
        check_type("strng")


def test_a_string_is_text_of_anything() -> None:
    assert parse("string", [1]) == "[1]"


@pytest.mark.parametrize("kind", ["list", "object"])
@pytest.mark.parametrize("written", [True, False])
def test_values_nested_without_end_are_the_callers_fault(kind: str, written: bool) -> None:
    """Of a request to a served flow they were an error of the server's."""
    value: Any = "[" * 50_000
    if not written:
        value = []
        for _ in range(5_000):
            value = [value]
    with pytest.raises(FlowUserError):
        coerce_inputs({"x": FlowInput(kind)}, {"x": value})
