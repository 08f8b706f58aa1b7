"""Loading finds every fault at once, with its line, and runs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phoundry.errors import NotFound
from phoundry.flows import FlowError, load_flow
from phoundry.flows.errors import InvalidNodeReference, PythonLoadError, TemplateSyntaxError
from phoundry.flows.tools.prompt import parse_template
from tests.flows.conftest import MakeFlow

TOOL = "from promptflow.core import tool\n@tool\ndef t(x: int = 1):\n    return x\n"
GOOD = """\
inputs:
  q: {type: int, default: 1}
outputs:
  o:
    type: int
    reference: ${n.output}
nodes:
- name: n
  type: python
  source: {type: code, path: t.py}
  inputs:
    x: ${inputs.q}
"""


def faults(path: Path, **options: str) -> list[tuple[str, str | None]]:
    with pytest.raises(FlowError) as caught:
        load_flow(path, **options)
    found = [caught.value, *caught.value.others]
    return [(error.code, error.where) for error in found]


def test_a_flow_is_read_without_running_its_tools(make_flow: MakeFlow) -> None:
    marker = "open('was_run', 'w')\n"
    folder = make_flow({"flow.dag.yml": GOOD, "t.py": marker + TOOL})
    flow = load_flow(folder)
    assert flow.node("n") is not None
    assert flow.signatures["n"].parameters["x"].kind == "int"
    assert sorted(path.name for path in folder.iterdir()) == ["flow.dag.yml", "t.py"]


def test_every_fault_of_tools_and_graph_comes_at_once(make_flow: MakeFlow) -> None:
    yaml = """\
outputs:
  a: {type: string}
  b: {type: string, reference: "${nope.output}"}
nodes:
- name: n
  type: python
  source: {type: code, path: gone.py}
- name: m
  type: python
  source: {type: code, path: bad.py}
  inputs:
    x: ${inputs.zz}
    y: ${nn.output}
- name: m
  type: python
  source: {type: code, path: t.py}
  inputs: {x: abc}
"""
    folder = make_flow({"flow.dag.yaml": yaml, "bad.py": "x = 1\ndef t(:\n", "t.py": TOOL})
    assert faults(folder) == [
        ("InvalidSource", "flow.dag.yaml:5"),
        ("PythonLoadError", "bad.py:2"),
        ("NodeInputValidationError", "flow.dag.yaml:14"),
        ("DuplicateNodeName", "flow.dag.yaml:14"),
        ("InputReferenceNotFound", "flow.dag.yaml:8"),
        ("NodeReferenceNotFound", "flow.dag.yaml:8"),
        ("EmptyOutputReference", "flow.dag.yaml:2"),
        ("OutputReferenceNotFound", "flow.dag.yaml:3"),
    ]


def test_every_wrong_word_comes_at_once(make_flow: MakeFlow) -> None:
    yaml = """\
inputs:
  a: {type: strng}
  b: {default: 1}
nodes:
- {name: n, type: pyton}
- just text
- {type: python}
- name: k
  type: python
  activate: {when: 1}
"""
    assert faults(make_flow({"flow.dag.yaml": yaml})) == [
        ("ValueError", "flow.dag.yaml:2"),
        ("KeyError", "flow.dag.yaml:3"),
        ("ValueError", "flow.dag.yaml:5"),
        ("AttributeError", "flow.dag.yaml:6"),
        ("FlowDefinitionError", "flow.dag.yaml:7"),
        ("FlowDefinitionError", "flow.dag.yaml:10"),
    ]


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"inputs: {}\ninputs: {}\n", "YAMLError", 2),
        (b"nodes:\n- {a: [}\n", "YAMLError", 2),
        (b"- a list\n", "AttributeError", None),
        (b"inputs: \xff\n", "UnicodeDecodeError", None),
        (b"nodes: 3\n", "AttributeError", 1),
        (b"inputs: [a]\n", "AttributeError", 1),
        (b"inputs: {a: text}\n", "TypeError", 1),
        (b"message_format: html\n", "InvalidMessageFormatType", 1),
    ],
)
def test_a_file_that_is_no_flow(tmp_path: Path, content: bytes, code: str, line: int) -> None:
    (tmp_path / "flow.dag.yaml").write_bytes(content)
    where = f"flow.dag.yaml:{line}" if line else "flow.dag.yaml"
    assert faults(tmp_path) == [(code, where)]


def test_no_flow_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="phoundry flow init"):
        load_flow(tmp_path)
    with pytest.raises(NotFound, match="There is no flow at"):
        load_flow(tmp_path / "gone")


def test_a_circle_is_named(make_flow: MakeFlow) -> None:
    nodes = "".join(
        f"- {{name: {a}, type: python, source: {{type: code, path: t.py}}, "
        f"inputs: {{x: '${{{b}.output}}'}}}}\n"
        for a, b in [("a", "b"), ("b", "c"), ("c", "a"), ("d", "c")]
    )
    folder = make_flow({"flow.dag.yaml": f"nodes:\n{nodes}", "t.py": TOOL})
    with pytest.raises(FlowError, match=r"\['a', 'b', 'c', 'd'\]") as caught:
        load_flow(folder)
    assert caught.value.codes[-1] == "NodeCircularDependency"


def test_variants(make_flow: MakeFlow) -> None:
    yaml = """\
outputs:
  o: {type: int, reference: "${n.output}"}
nodes:
- name: n
  use_variants: true
node_variants:
  n:
    default_variant_id: one
    variants:
      one: {node: {type: python, source: {type: code, path: t.py}, inputs: {x: 1}}}
      two: {node: {type: python, source: {type: code, path: t.py}, inputs: {x: 2}}}
"""
    folder = make_flow({"flow.dag.yaml": yaml, "t.py": TOOL})
    assert load_flow(folder)() == {"o": 1}
    assert load_flow(folder, variant="${n.two}")() == {"o": 2}
    for wrong, text in [("n.three", "There is"), ("m.two", "There is"), ("two", "--variant")]:
        with pytest.raises(FlowError, match=text):
            load_flow(folder, variant=wrong)


def test_additional_includes_are_found_beside_the_flow(make_flow: MakeFlow) -> None:
    make_flow(
        {"t.py": "from helper import one\n" + TOOL + "    # uses one\n", "helper.py": "one = 1"},
        "lib",
    )
    include = "additional_includes:\n- ../lib/t.py\n- ../lib/helper.py\n"
    folder = make_flow({"flow.dag.yaml": include + GOOD})
    assert load_flow(folder)() == {"o": 1}
    assert [path.name for path in folder.iterdir()] == ["flow.dag.yaml"]


def test_a_missing_include_is_clear(make_flow: MakeFlow) -> None:
    folder = make_flow({"flow.dag.yaml": "additional_includes: [../gone]\n" + GOOD, "t.py": TOOL})
    with pytest.raises(FlowError, match=r"additional include \.\./gone"):
        load_flow(folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.integers(0, len(GOOD) - 1), st.text(alphabet="${}[]:-'\"\n ax&*!%", max_size=4))
def test_a_mutated_flow_loads_or_is_a_flows_error(
    tmp_path: Path, place: int, inserted: str
) -> None:
    (tmp_path / "t.py").write_text(TOOL)
    (tmp_path / "flow.dag.yaml").write_text(GOOD[:place] + inserted + GOOD[place + 1 :])
    try:
        load_flow(tmp_path)
    except FlowError as error:
        assert str(error)


@pytest.mark.parametrize(
    "text", ["x = " + "-" * 20_000 + "1\n", f"def f(x: {' | '.join(['int'] * 4000)}): ...\n"]
)
def test_a_tool_nested_without_end_is_an_error_of_its_file(make_flow: MakeFlow, text: str) -> None:
    tool = text + "from promptflow.core import tool\n" + text.replace("def f", "@tool\ndef t")
    yaml = "nodes:\n- {name: n, type: python, source: {type: code, path: t.py}}\n"
    with pytest.raises(PythonLoadError, match="Error"):
        load_flow(make_flow({"flow.dag.yaml": yaml, "t.py": tool}))


@pytest.mark.parametrize(
    "condition",
    ["{when: '${a.output}', is: 1}", "{any: [{when: '${inputs.x}', is: '${a.output}'}]}"],
)
def test_no_condition_of_an_aggregation_looks_at_lines(make_flow: MakeFlow, condition: str) -> None:
    """The added conditions read None there, and the node ran or did not by chance."""
    tool = "from promptflow.core import tool\n@tool\ndef t(x=1):\n    return x\n"
    source = "type: python, source: {type: code, path: t.py}"
    yaml = (
        f"inputs: {{x: {{type: int}}}}\nnodes:\n- {{name: a, {source}}}\n"
        f"- {{name: b, {source}, aggregation: true, activate: {condition}}}\n"
    )
    with pytest.raises(InvalidNodeReference):
        load_flow(make_flow({"flow.dag.yaml": yaml, "t.py": tool}))


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"{{% for a{n} in [1] %}}" for n in range(30)) + "{% endfor %}" * 30,
        f"{{{{ {'(' * 3000}x{')' * 3000} }}}}",
    ],
)
def test_a_template_beyond_what_python_takes_is_a_fault_of_it(text: str) -> None:
    with pytest.raises(TemplateSyntaxError, match="too deep"):
        parse_template(text, "p.jinja2")
