"""How models write calls, and how they are read out of an answer that comes in pieces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.data import ChatTokenizer
from phoundry.errors import InvalidInput
from phoundry.serving.replica.call_formats import CallFormat, CallReader, call_format
from phoundry.serving.replica.json_schema import check_schema
from phoundry.serving.replica.parameters import Parameters
from phoundry.serving.replica.tools import ToolUse

TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("weather", "time")
]
USE = ToolUse(TOOLS, TOOLS)
FORMS = {
    "hermes": CallFormat("<tool_call>", "</tool_call>", "arguments", begun="<tool_call>\n"),
    "mistral": CallFormat("[TOOL_CALLS]", "", "arguments", listed=True, begun="[TOOL_CALLS]"),
    "llama": CallFormat("", "", "parameters"),
}
SAID = {
    "hermes": '<tool_call>\n{"name": "time", "arguments": {"a": "é"}}\n</tool_call>\n',
    "mistral": '[TOOL_CALLS] [{"name": "time", "arguments": {"a": "é"}}]',
    "llama": '{"name": "time", "parameters": {"a": "é"}}',
}
WRITES = {
    "hermes": "<tool_call>{{ call.function | tojson }}</tool_call>",
    "mistral": "[TOOL_CALLS] [{{ call.function | tojson }}]",
    "llama": '{"name": "{{ call.function.name }}", '
    '"parameters": {{ call.function.arguments | tojson }}}',
    "other": "CALL {{ call.function.name }}({{ call.function.arguments }})",
}


def _read(form: CallFormat, pieces: list[str]) -> tuple[str, list[tuple[str, Any]]]:
    """The text, and the calls as (name, arguments)."""
    reader = CallReader(form, USE)
    text = "".join(reader.feed(piece) for piece in pieces)
    rest, calls = reader.finish()
    found = [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls]
    return text + rest, found


def _cut(text: str, places: list[int]) -> list[str]:
    ends = sorted(place % (len(text) + 1) for place in places)
    return [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]


@given(st.sampled_from(sorted(FORMS)), st.lists(st.integers(0, 200), max_size=8))
def test_a_call_is_read_however_it_is_cut(name: str, places: list[int]) -> None:
    text, calls = _read(FORMS[name], _cut(SAID[name], places))
    assert calls == [("time", {"a": "é"})]
    assert not text


@given(
    st.sampled_from(sorted(FORMS)),
    st.text(alphabet='<tool_call>[TOOL_CALLS]{" :}', max_size=60),
    st.lists(st.integers(0, 60), max_size=5),
)
def test_nothing_of_an_answer_without_calls_is_lost(
    name: str, said: str, places: list[int]
) -> None:
    text, calls = _read(FORMS[name], _cut(said, places))
    assert (text, calls) == (said, [])


@pytest.mark.parametrize("name", sorted(WRITES))
def test_the_format_is_found_by_asking_the_template(
    tokenizer_dir: Path, tmp_path: Path, name: str
) -> None:
    for file in tokenizer_dir.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "chat_template.jinja").write_text(
        "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}"
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
        "{% for call in message.tool_calls or [] %}" + WRITES[name] + "{% endfor %}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer = ChatTokenizer.load(tmp_path)
    if name == "other":
        with pytest.raises(InvalidInput, match="not known here"):
            call_format(tokenizer, TOOLS)
    else:
        assert call_format(tokenizer, TOOLS) == FORMS[name]


def test_a_forced_call_is_of_one_of_the_tools() -> None:
    schema = FORMS["mistral"].schema(TOOLS, one=True)
    assert (schema["type"], schema["minItems"], schema["maxItems"]) == ("array", 1, 1)
    names = [call["properties"]["name"]["const"] for call in schema["items"]["anyOf"]]
    assert names == ["weather", "time"]
    assert FORMS["llama"].schema(TOOLS[:1], one=True)["required"] == ["name", "parameters"]


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"not": {}}, "s.not"),
        ({"properties": {"a": {"uniqueItems": True}}}, "s.properties.a.uniqueItems"),
        ({"items": {"format": "colour"}}, "s.items.format"),
        ({"anyOf": [{}, {"type": "text"}]}, "s.anyOf[1].type"),
        ({"format": []}, "s.format"),
        ({"anyOf": []}, "s.anyOf"),
        ({"$ref": "https://example.org/s.json"}, "s.$ref"),
        ({"$defs": {"a": 5}}, "s.$defs.a"),
        ({"properties": []}, "s.properties"),
    ],
)
def test_a_keyword_that_would_not_be_kept_is_refused_by_place(schema: Any, place: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_schema(schema, "s")
    assert caught.value.faults[0].where == place


@pytest.mark.parametrize(
    "inner", ['{"name": ["time"], "arguments": {}}', '{"name": {}, "arguments": {}}', "[" * 9999]
)
def test_what_is_no_call_is_text(inner: str) -> None:
    text = f"<tool_call>{inner}</tool_call>"
    assert _read(FORMS["hermes"], [text]) == (text, [])


def test_half_a_surrogate_in_a_schema_or_a_stop_string_is_refused() -> None:
    with pytest.raises(InvalidInput, match="half a surrogate pair"):
        check_schema({"properties": {"a": {"const": "\ud83d"}}}, "s")
    with pytest.raises(InvalidInput, match="half a surrogate pair"):
        Parameters({"stop": ["a", "\ud83d"]}).stop()


def test_a_schema_is_no_bottomless_pit() -> None:
    schema: dict[str, Any] = {}
    for _ in range(100):
        schema = {"items": schema}
    with pytest.raises(InvalidInput, match="nested"):
        check_schema(schema, "s")
