"""One value of a flow's file is set, and no other byte changes."""

from __future__ import annotations

import copy
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoundry.errors import Conflict, NotFound, PhoundryError, UsageError
from phoundry.flows.document import parse_document
from phoundry.flows.editing import edit_file, read_value, set_value
from phoundry.flows.errors import FlowError

TEXT = """\
# The top comment
$schema: "https://x/y.json"   # quoted

inputs:
    question: {type: string, default: 'What?'}   # four blanks
    # between
    count:
        type: int
outputs: {}
nodes:
- name: ask   # who asks
  type: llm
  unknown_key: [1,
     2]   # wrapped
  inputs:
    temperature: 0.70 # warm
    text: |
      long
      text

    last: ~
  connection:
- name: "two"
  source:
    path: >-
      folded
      name
# The end
"""
FILE = Path("flow.dag.yaml")


def data(text: str) -> Any:
    return parse_document(FILE, text).data


@pytest.mark.parametrize(
    ("place", "value", "before", "after"),
    [
        (
            "nodes.ask.inputs.temperature",
            0.2,
            "temperature: 0.70 # warm",
            "temperature: 0.2 # warm",
        ),
        ("nodes.ask.connection", "mine", "  connection:\n", "  connection: mine\n"),
        ("inputs.question.default", "it's", "default: 'What?'", 'default: "it\'s"'),
        ("inputs.question.is_chat_input", True, "'What?'}", "'What?', is_chat_input: true}"),
        ("inputs.count.default", 3, "type: int\n", "type: int\n        default: 3\n"),
        ("outputs.a.type", "string", "outputs: {}", 'outputs: {a: {"type": "string"}}'),
        ("nodes.two.source.path", "x.py", ">-\n      folded\n      name", "x.py"),
        (
            "nodes.ask.inputs.q",
            "${inputs.question}",
            "    last: ~\n",
            "    last: ~\n    q: ${inputs.question}\n",
        ),
        ("nodes.1.name", "three", 'name: "two"', "name: three"),
    ],
)
def test_only_the_value_changes(place: str, value: Any, before: str, after: str) -> None:
    assert TEXT.count(before) == 1
    assert set_value(TEXT, place, value) == TEXT.replace(before, after)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(max_size=12)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(string.ascii_letters, min_size=1, max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
PLACES = st.sampled_from(
    [
        "nodes.ask.inputs.temperature",
        "nodes.ask.inputs.text",
        "nodes.ask.connection",
        "nodes.two.source.path",
        "nodes.ask.unknown_key",
        "inputs.question.default",
        "inputs.question.new",
        "inputs.count.default",
        "display_name",
        "nodes.ask.inputs.last",
        "nodes.two.inputs.a",
        "outputs.o.reference",
    ]
)


@settings(max_examples=60)
@given(changes=st.lists(st.tuples(PLACES, VALUES), min_size=1, max_size=3), crlf=st.booleans())
def test_any_value_at_any_place(changes: list[tuple[str, Any]], crlf: bool) -> None:
    """The file then holds the old data with the new values; its comments are all there."""
    text = TEXT.replace("\n", "\r\n") if crlf else TEXT
    wanted = copy.deepcopy(data(text))
    for place, value in changes:
        try:
            text = set_value(text, place, value)
        except Conflict:
            continue  # refused whole
        put(wanted, place, value)
    assert data(text) == wanted
    for comment in (
        "# The top comment",
        "# quoted",
        "# four blanks",
        "# between",
        "# who asks",
        "# The end",
    ):
        assert comment in text
    assert '$schema: "https://x/y.json"' in text
    assert text.count("\r\n") == (text.count("\n") if crlf else 0)


def put(target: Any, place: str, value: Any) -> None:
    *parts, last = place.split(".")
    for part in parts:
        if isinstance(target, list):
            target = next(item for item in target if item["name"] == part)
        else:
            target = target.setdefault(part, {})
    target[last] = value


def test_what_is_shared_is_not_changed() -> None:
    text = "nodes:\n- {name: a, inputs: &i {x: 1}}\n- {name: b, inputs: *i}\n"
    with pytest.raises(Conflict, match="by hand"):
        set_value(text, "nodes.a.inputs.x", 2)


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("nodes.nobody.type", NotFound),
        ("nodes.9.type", NotFound),
        ("inputs..x", UsageError),
        ("nodes.ask.type.deep", NotFound),
    ],
)
def test_places_that_are_not_there(place: str, error: type[PhoundryError]) -> None:
    with pytest.raises(error):
        set_value(TEXT, place, 1)


def test_a_file_is_changed_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "flow.dag.yaml"
    file.write_bytes(TEXT.encode())
    with pytest.raises(NotFound):
        edit_file(file, [("display_name", "x"), ("nodes.nobody.type", "llm")])
    assert file.read_bytes() == TEXT.encode()
    edit_file(file, [("display_name", "x"), ("nodes.ask.type", "python")])
    assert data(file.read_text())["nodes"][0]["type"] == "python"


def test_mode_and_link_of_a_file_stay(tmp_path: Path) -> None:
    (tmp_path / "shared.yaml").write_text(TEXT)
    (tmp_path / "shared.yaml").chmod(0o600)
    file = tmp_path / "flow.dag.yaml"
    file.symlink_to("shared.yaml")
    edit_file(file, [("display_name", "x")])
    assert file.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "display_name: x" in file.read_text()
    file.write_bytes(b"\xff")
    with pytest.raises(FlowError, match="not UTF-8"):
        edit_file(file, [("display_name", "x")])


def test_words_of_a_command_line() -> None:
    assert [read_value(text) for text in ("0.2", "true", '"3"', "[1]", "plain", "{x")] == [
        0.2,
        True,
        "3",
        [1],
        "plain",
        "{x",
    ]
