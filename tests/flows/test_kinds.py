"""Kinds of an imported tool's parameters; the conversions that follow from them are observed rows
(`tests/conformance/observed/literals.jsonl`)."""

from __future__ import annotations

import inspect
from enum import Enum, IntEnum
from typing import Any, Optional, Union

import pytest

from phoundry.flows.provided.multimedia import Image
from phoundry.flows.provided.types import FilePath
from phoundry.flows.signature import Parameter, Signature
from phoundry.flows.tools.kinds import kind_of, with_kinds


class Shade(Enum):
    DARK = 1


class Level(IntEnum):
    LOW = 1


NONE = inspect.Parameter.empty


@pytest.mark.parametrize(
    ("annotation", "default", "kind"),
    [
        (int, NONE, "int"),
        (Optional[int], NONE, "int"),  # noqa: UP045 - what is tested
        (int | None, NONE, "object"),  # Prompt flow unwraps only typing's Union
        (Union[int, str], NONE, "object"),  # noqa: UP007 - what is tested
        (Optional["int"], NONE, "object"),
        ("int", NONE, "object"),
        (list[int], NONE, "object"),
        (Shade, NONE, "string"),
        (Optional[Level], NONE, "string"),  # noqa: UP045 - what is tested
        (Image, NONE, "image"),
        (FilePath, NONE, "file_path"),
        (type("Image", (), {}), NONE, "object"),  # of the user's own
        (Any, NONE, "object"),
        (int, "text", "int"),
        (NONE, NONE, "object"),
        (NONE, not True, "bool"),
        (NONE, int("3"), "int"),
        (NONE, Level.LOW, "string"),
        (NONE, None, "object"),
        (NONE, (), "object"),
        (NONE, [], "list"),
    ],
)
def test_kind(annotation: Any, default: Any, kind: str) -> None:
    parameter = inspect.Parameter(
        "x", inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default
    )
    assert kind_of(parameter) == kind


def test_what_takes_a_connection_or_is_not_there_stays() -> None:
    def tool(a: int, c: str, b=2): ...  # type: ignore[no-untyped-def]

    before = {
        "a": Parameter("a", "object"),
        "b": Parameter("b", "object", has_default=True),
        "c": Parameter("c", connections=("CustomConnection",)),
        "d": Parameter("d", "string"),
    }
    tool.__annotations__.update(a=int, c=str)  # not text, as in a module without postponed ones
    found = with_kinds(Signature("tool", before), tool).parameters
    assert {name: item.kind for name, item in found.items()} == {
        "a": "int",
        "b": "int",
        "c": "object",
        "d": "string",
    }
    assert found["b"].has_default
    assert found["c"] == before["c"]


def test_a_callable_that_cannot_say_what_it_takes_changes_nothing() -> None:
    signature = Signature("tool", {"a": Parameter("a", "int")})
    assert with_kinds(signature, type) is signature
