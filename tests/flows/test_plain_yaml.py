"""The reader of plain YAML says what the YAML library says, or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phoundry.flows import document as documents
from phoundry.flows import inspection, load_flow
from phoundry.flows.check import check_flow, sources
from phoundry.flows.document import Document, is_list, is_mapping, parse_document
from phoundry.flows.errors import YamlError
from phoundry.flows.plain_yaml import DEEPEST, read_plain

FILE = Path("flow.dag.yaml")
FLOW = """\
# A flow as the editor writes it.
$schema: https://example.com/Flow.schema.json
environment:
  python_requirements_txt: requirements.txt
inputs:
  question: # asked by the user
    type: string
    default: "What is it: a permit?"
    is_chat_input: true
  history:
    type: list
    default: []
  n:
    type: int
    default: -12
  x:
    default: 0.5
    none:
outputs:
  answer:
    type: string
    reference: ${ask.output}
nodes:
- name: ask

  type: python
  source: {}
  inputs:
    deployment_name: gpt-4
    stop: 'a b  # c'
    text: Say what's to be said (and "no" more), é
-   name: other
    items:
    - one
    -
      two: 2
      three: null
    activate:
      when: ${ask.output}
      is: False
additional_includes:
- ../shared/tool.py
- /there
"""


def unread(text: str) -> None:
    return None


def by_library(text: str) -> Document:
    before, documents.read_plain = documents.read_plain, unread
    try:
        return parse_document(FILE, text)
    finally:
        documents.read_plain = before


def agrees(text: str) -> bool:
    """Whether `text` was read; what was read must be what the library reads."""
    found = read_plain(text)
    if found is None:
        return False
    whole = by_library(text)  # raises where it is no YAML
    assert repr(found.data) == repr(whole.data)  # types and order, too
    assert (found.lines, found.columns) == (whole.lines, whole.columns)
    return True


def test_an_ordinary_flow_is_read() -> None:
    assert agrees(FLOW)
    found = parse_document(FILE, FLOW)
    assert found.data["nodes"][1]["items"] == ["one", {"two": 2, "three": None}]
    place = ("nodes", 1, "items", 1, "three")
    assert (found.lines[place], found.columns[place]) == (37, 7)


def written(value: Any, indent: int) -> Iterator[str]:
    """Block YAML, as Prompt flow's tools write it."""
    pad = " " * indent
    pairs: Any = value.items() if is_mapping(value) else ((None, item) for item in value)
    for key, item in pairs:
        head = f"{pad}{key}:" if is_mapping(value) else f"{pad}-"
        if item and (is_mapping(item) or is_list(item)):
            yield head
            yield from written(item, indent + 2)
        else:
            plain = isinstance(item, str) and item[:1].isalpha() and item.isprintable()
            yield f"{head} {item if plain else json.dumps(item, ensure_ascii=False, default=str)}"


def observed() -> list[str]:
    """Flows of the conformance cases, in block style."""
    found: list[str] = []
    for file in sorted((Path(__file__).parents[1] / "conformance/observed").glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines()[::12]:
            files: dict[str, str] = json.loads(line).get("files") or {}
            for name, text in files.items():
                if name.endswith((".yaml", ".yml")) and "nodes:" in text:
                    try:
                        data = by_library(text).data
                    except YamlError:
                        continue
                    found.append("\n".join(written(data, 0)) + "\n")
    return found


def test_flows_that_were_observed_are_read_alike() -> None:
    texts = observed()
    assert len(texts) > 20
    assert sum(map(agrees, texts)) > len(texts) / 2


PIECES = st.sampled_from(
    [
        *" #:-\"'\na1~.$\\\té/(?%@,=*&!|>[]{}_<",
        " #",
        ": ",
        "- ",
        "\n  ",
        "[]",
        "{}",
        "null",
        "<<: x",
    ]
)
Change = Callable[[list[str]], None]


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 4), PIECES), min_size=1, max_size=3))
@example([(0, 0, "\ufeff")])
@example([(0, 0, "--- \n")])
@example([(41, 0, "\u2028")])
def test_what_it_reads_of_any_text_the_library_reads_alike(
    changes: list[tuple[int, int, str]],
) -> None:
    text = FLOW
    for at, drop, piece in changes:
        text = text[:at] + piece + text[at + drop :]
    agrees(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: 1\na: 2\n",
        "a: |\n  text\n",
        "a: one\n  two\n",
        "a: &x 1\nb: *x\n",
        "a: !!str 1\n",
        'a: "\\n"\n',
        "a: 'it''s'\n",
        "a: {b: 1}\n",
        "a: 0x10\nb: 1_000\n",
        "a: 2020-01-01\n",
        "a:\n\tb: 1\n",
        "- a\n",
        "a: b: c\n",
        "a:\n  - b\n c: 1\n",
        "null: 1\n",
        "<<: 1\n",
        "a: 1\n---\nb: 2\n",
    ],
)
def test_the_rest_is_left_to_the_library(text: str) -> None:
    assert read_plain(text) is None


def test_depth_has_an_end() -> None:
    deep = "\n".join(f"{'  ' * level}a:" for level in range(DEEPEST + 5))
    assert read_plain(deep) is None
    with pytest.raises(YamlError, match="100,000"):
        parse_document(FILE, "a:\n" + "- 1\n" * 100_001)


def test_many_nodes_of_one_file_read_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = "- name: n{0}\n  type: python\n  source:\n    type: code\n    path: t.py\n"
    nodes = "".join(
        f"{node.format(number)}  inputs:\n    q: ${{n{number - 1}.output}}\n"
        for number in range(5000)
    ).replace("${n-1.output}", "${inputs.q}")
    head = "inputs:\n  q:\n    type: string\noutputs:\n  o:\n    type: string\n"
    text = f"{head}    reference: ${{n4999.output}}\nnodes:\n{nodes}"
    (tmp_path / "flow.dag.yaml").write_text(text)
    (tmp_path / "t.py").write_text("from promptflow.core import tool\n@tool\ndef t(q): return q\n")
    read: list[str] = []
    for module in (inspection, sources):
        whole = module.read_source

        def counted(text: str, name: str, whole: Any = whole) -> Any:
            read.append(name)
            return whole(text, name)

        monkeypatch.setattr(module, "read_source", counted)
    flow = load_flow(tmp_path)
    assert len(flow.nodes) == len(flow.signatures) == 5000
    assert flow.nodes[-1].line == text[: text.index("- name: n4999")].count("\n") + 1
    assert len(read) == 1
    assert check_flow(tmp_path).verdict == "runs"
    assert len(read) == 3  # the validator's own, and the loader's, which has the last word
    # A circle through all of them, and what hangs on it.
    (tmp_path / "flow.dag.yaml").write_text(text.replace("${inputs.q}", "${n4990.output}"))
    (fault,) = (item for item in check_flow(tmp_path).errors if item.node == "n0")
    assert fault.code == "NodeCircularDependency"
    assert "n4990" in fault.message
    assert "n4991" not in fault.message
