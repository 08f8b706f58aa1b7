"""`${…}`: what it means and what it finds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.flows.errors import (
    FlowError,
    InputNotFound,
    InvalidReferenceProperty,
    UnsupportedReference,
    WrongType,
)
from phoundry.flows.reference import InputReference, Literal, NodeReference, parse, resolve

names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("${inputs.q}", InputReference("q")),
        ("${flow.q}", InputReference("q")),
        ("${node}", NodeReference("node")),
        ("${node.output}", NodeReference("node")),
        ("${node.output.a[0]['b']}", NodeReference("node", "output", "a[0]['b']")),
        ("${node.outputs}", NodeReference("node", "outputs")),
        ("hi ${inputs.q}", Literal("hi ${inputs.q}")),
        ("${inputs.q} there", Literal("${inputs.q} there")),
        ("$", Literal("$")),
        (3, Literal(3)),
        (None, Literal(None)),
    ],
)
def test_parse(written: Any, meant: Any) -> None:
    assert parse(written) == meant


@given(st.text() | st.integers() | st.none() | st.lists(st.text()))
def test_any_value_parses(value: Any) -> None:
    assert isinstance(parse(value), Literal | InputReference | NodeReference)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=10,
)


@given(st.data())
def test_every_path_into_a_value_finds_what_is_there(data: st.DataObject) -> None:
    value = data.draw(json_values)
    path, at = "", value
    while isinstance(at, list | dict) and at and data.draw(st.booleans()):
        if isinstance(at, list):
            index = data.draw(st.integers(0, len(at) - 1))
            path, at = f"{path}[{index}]", at[index]
        else:
            key = data.draw(st.sampled_from(sorted(at)))
            quoted = path and data.draw(st.booleans())
            path, at = f"{path}['{key}']" if quoted else f"{path}.{key}", at[key]
    if path.startswith("["):
        return  # an index right after `output` is a section to Prompt flow, and refused
    assert resolve(parse(f"${{n.output{path}}}"), {}, {"n": value}) == at


@given(json_values, st.text(alphabet="ab.[]0'\"", max_size=12))
def test_a_wrong_path_is_a_flows_error_and_nothing_else(value: Any, path: str) -> None:
    try:
        resolve(NodeReference("n", "output", path), {}, {"n": value})
    except FlowError as error:
        assert error.codes[0] in ("UserError", "SystemError")


@pytest.mark.parametrize(
    ("written", "error"),
    [
        ("${inputs.nope}", InputNotFound),
        ("${n.output.nope}", InvalidReferenceProperty),
        ("${n.output.a[9]}", InvalidReferenceProperty),
        ("${n.output.a.__class__}", InvalidReferenceProperty),
        ("${n.output.b[0]}", WrongType),
        ("${n.zzz}", UnsupportedReference),
    ],
)
def test_what_is_not_there(written: str, error: type[FlowError]) -> None:
    with pytest.raises(error):
        resolve(parse(written), {"q": 1}, {"n": {"a": [1], "b": 3}})
