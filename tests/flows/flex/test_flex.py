"""Flex flows beyond single answers: streams, aggregation, connections, signatures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phoundry.flows.chat import chat_roles
from phoundry.flows.connections import resolved
from phoundry.flows.errors import FlowError
from phoundry.flows.executor import surroundings
from phoundry.flows.flex.definition import with_types
from phoundry.flows.load import load_flow
from phoundry.flows.runner import Outcome, Runner, open_runner
from phoundry.flows.spans import recording
from phoundry.specs.connection import ConnectionValues
from tests.flows.conftest import Connections, Endpoint, MakeFlow, custom

CHAT = """\
from dataclasses import dataclass
from typing import Optional
from promptflow.core import AzureOpenAIModelConfiguration
@dataclass
class Answer:
    text: str
    words: int
class Chat:
    def __init__(self, model_config: AzureOpenAIModelConfiguration, limit: int = 3): ...
    def __call__(
        self, question: str, depth: Optional[int] = 1, chat_history: list = None
    ) -> Answer: ...
    def __aggregate__(self, line_results): ...
"""


def flex(make_flow: MakeFlow, python: str, yaml: str = "entry: m:f\n", **files: str) -> Path:
    return make_flow({"flow.flex.yaml": yaml, "m.py": python, **files})


def run(path: Path, inputs: dict[str, Any], *values: ConnectionValues, **options: Any) -> Outcome:
    init = options.pop("init", None)
    flow = load_flow(path)
    connections = resolved(flow, Connections(*values), {}, {}, init)
    with surroundings(flow, connections):
        runner: Runner = open_runner(flow, connections, init)
        return runner.run(inputs, **options)


def test_the_signature_is_read_without_running(make_flow: MakeFlow) -> None:
    flow = load_flow(flex(make_flow, "raise SystemExit\n" + CHAT, "entry: m:Chat\n"))
    kinds = {name: item.type for name, item in flow.inputs.items()}
    assert kinds == {"question": "string", "depth": "int", "chat_history": "list"}
    assert flow.inputs["chat_history"].is_chat_history
    assert {name: item.type for name, item in flow.outputs.items()} == {
        "text": "string",
        "words": "int",
    }
    source = flow.definition.source
    assert source.init["model_config"].type == "AzureOpenAIModelConfiguration"
    assert source.aggregates


def test_a_chat_remembers_messages(make_flow: MakeFlow) -> None:
    python = "def f(question: str, chat_history: list = None) -> str: ...\n"
    roles = chat_roles(load_flow(flex(make_flow, python)), None)
    assert (roles.input, roles.output, roles.history) == ("question", "output", "chat_history")
    assert roles.turns("hi", "ho") == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho"},
    ]


@pytest.mark.parametrize(
    ("python", "output"),
    [
        ("def f(q):\n    yield from q\n", "output"),
        ("async def f(q):\n    for c in q: yield c\n", "output"),
        ("def f(q): return {'a': iter(q), 'b': iter('no')}\n", "a"),
        (
            "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass R:\n    a: object\n"
            "def f(q): return R(iter(q))\n",
            "a",
        ),
    ],
)
def test_pieces_come_as_they_are_made(make_flow: MakeFlow, python: str, output: str) -> None:
    pieces: list[str] = []
    path = flex(make_flow, python)
    outcome = run(path, {"q": "abc"}, on_piece=pieces.append, stream_output=output)
    assert pieces == ["a", "b", "c"]
    assert outcome.output is not None
    assert outcome.output[output] == "abc"


AGGREGATING = """\
class K:
    def __init__(self, weight: float = 1.0): self.weight = weight
    def __call__(self, x: int): return {"score": x * self.weight}
    async def __aggregate__(self, line_results):
        scores = [item.score + 0 * item["line_number"] for item in line_results]
        return {"mean": sum(scores) / len(scores), "note": "no number"}
"""


def test_metrics_over_lines(make_flow: MakeFlow) -> None:
    flow = load_flow(flex(make_flow, AGGREGATING, "entry: m:K\n"))
    with surroundings(flow):
        runner = open_runner(flow, None, {"weight": 2})
        assert runner.aggregates
        lines = [runner.line({"x": number}, number=number) for number in (1, 2, 3)]
        over = runner.aggregate(
            [line.inputs for line in lines], [line.aggregation_inputs for line in lines]
        )
    assert [line.output for line in lines] == [{"score": 2}, {"score": 4}, {"score": 6}]
    assert over.metrics == {"mean": 4.0}


def test_one_run_shows_its_metrics_and_a_failing_aggregation_leaves_none(
    make_flow: MakeFlow,
) -> None:
    assert run(flex(make_flow, AGGREGATING, "entry: m:K\n"), {"x": 5}).metrics == {"mean": 5.0}
    broken = AGGREGATING.replace("/ len(scores)", "/ 0")
    outcome = run(make_flow({"flow.flex.yaml": "entry: m:K\n", "m.py": broken}, "two"), {"x": 5})
    assert (outcome.error, outcome.metrics, outcome.output) == (None, {}, {"score": 5.0})


def test_connections_and_models_in_the_arguments_of_the_class(make_flow: MakeFlow) -> None:
    python = (
        "from promptflow.connections import CustomConnection\n"
        "from promptflow.core import AzureOpenAIModelConfiguration as A, OpenAIModelConfiguration\n"
        "class K:\n"
        "    def __init__(self, c: CustomConnection, m: A, o: OpenAIModelConfiguration):\n"
        "        self.found = [c.key, m.api_key, m.azure_endpoint, m.api_version, o.base_url]\n"
        "    def __call__(self): return self.found\n"
    )
    azure = ConnectionValues(
        name="az", type="azure_open_ai", configs={"api_base": "http://a"}, secrets={"api_key": "k1"}
    )
    init = {
        "c": "mine",
        "m": {"connection": "az", "azure_deployment": "d"},
        "o": {"model": "g", "base_url": "http://o", "api_key": "k"},
    }
    path = flex(make_flow, python, "entry: m:K\n")
    others = custom("mine", key="k0"), azure, custom("unasked", key="canary")
    flow = load_flow(path)
    connections = resolved(flow, Connections(*others), {}, {}, init)
    assert sorted(connections.values) == ["az", "mine"]
    outcome = run(path, {}, *others, init=init)
    assert outcome.output == {"output": ["k0", "k1", "http://a", "2024-02-01", "http://o"]}


def test_a_failed_class_does_not_show_its_arguments(make_flow: MakeFlow) -> None:
    python = (
        "class K:\n    def __init__(self, key): raise ValueError('no')\n    def __call__(self): ..."
    )
    with pytest.raises(FlowError) as caught:
        run(flex(make_flow, python, "entry: m:K\n"), {}, init={"key": "canary-1"})
    assert "canary-1" not in json.dumps(caught.value.to_dict())
    assert caught.value.code == "FlowEntryInitializationError"


def test_modules_of_the_same_name_stay_apart(make_flow: MakeFlow) -> None:
    inner = make_flow(
        {"flow.flex.yaml": "entry: m:f\n", "m.py": "def f(q): return 'inner ' + q\n"}, "inner"
    )
    outer = make_flow(
        {
            "flow.flex.yaml": "entry: m:f\n",
            "m.py": "from promptflow.client import load_flow\n"
            f"def f(q): return load_flow({str(inner)!r})(q=q)['output'] + '!'\n",
        },
        "outer",
    )
    assert run(outer, {"q": "a"}).output == {"output": "inner a!"}


def test_spans_of_traced_functions(make_flow: MakeFlow) -> None:
    python = (
        "from promptflow.tracing import trace\n"
        "@trace\ndef g(x): return x + 1\n"
        "@trace\nasync def f(q):\n    return g(q)\n"
    )
    path = flex(make_flow, python)
    with recording() as found:
        assert run(path, {"q": 1}).output == {"output": 2}
    told = [(span.kind, span.name, span.attributes.get("inputs")) for span in found.spans]
    assert told == [
        ("function", "g", {"x": 1}),
        ("function", "f", {"q": 1}),
        ("flow", "f", {"q": 1}),
    ]
    by_id = {span.id: span.name for span in found.spans}
    assert [by_id.get(span.parent or 0) for span in found.spans] == ["f", "f", None]


def test_a_session_runs_it_with_its_arguments(
    make_flow: MakeFlow, open_session: Any, endpoint: Endpoint
) -> None:
    endpoint.reply = lambda body: (
        200,
        {"choices": [{"message": {"content": body["messages"][0]["content"].upper()}}]},
    )
    python = (
        "from promptflow.core import Prompty, OpenAIModelConfiguration\n"
        "class K:\n"
        "    def __init__(self, model_config: OpenAIModelConfiguration, mark: str):\n"
        "        self.m, self.mark = model_config, mark\n"
        "    def __call__(self, q: str):\n"
        "        p = Prompty.load(source='p.prompty', model={'configuration': self.m})\n"
        "        return p(q=q) + self.mark\n"
    )
    prompty = (
        "---\nmodel:\n  configuration: {type: openai}\ninputs:\n  q: {type: string}\n"
        "---\nuser:\n{{q}}\n"
    )
    path = flex(make_flow, python, "entry: m:K\n", **{"p.prompty": prompty})
    own = custom("faq", {"api_base": f"{endpoint.url}/v1", "model": "faq"}, key="k-canary")
    config = {"connection": "faq", "model": "other"}
    session = open_session(path, own, init={"model_config": config, "mark": "!"})
    assert session.run({"q": "hi"}).output == {"output": "HI!"}
    assert endpoint.requests[0]["body"]["model"] == "other"
    assert endpoint.requests[0]["headers"]["Authorization"] == "Bearer k-canary"


@pytest.mark.parametrize(
    ("parameter", "given", "found"),
    [
        ("x", {"x": "3"}, "int"),
        ("x", {"x": "hi"}, "str"),
        ("x", {}, "InputNotFound"),
        ("x=3", {"x": "3"}, "int"),
        ("x: int", {"x": "3"}, "int"),
        ("x: int", {"x": "abc"}, "InputTypeError"),
        ("x: int = 3", {}, "int"),
        ("x: int = 3", {"x": None}, "InputTypeError"),
        ("x: dict", {"x": '{"a": 1}'}, "dict"),
        ("x: bool", {"x": "true"}, "bool"),
        ("x: bool", {"x": "1"}, "InputTypeError"),
        ("x: str", {"x": 3}, "str"),
        ("x: str = None", {"x": 3}, "int"),
        ("x: list", {"x": "[1]"}, "list"),
        ("x: list", {"x": "zz"}, "InputParseError"),
        # Prompt flow loads none of these.
        ("x: 'int | str'", {"x": "3"}, "str"),
        ("x=len('ab')", {}, "int"),
        ("x=len('ab')", {"x": "3"}, "str"),
    ],
)
def test_the_entrys_own_types_as_prompt_flows_commands_have_them(
    tmp_path: Path, parameter: str, given: dict[str, Any], found: str
) -> None:
    (tmp_path / "flow.flex.yaml").write_text("entry: m:f\n")
    (tmp_path / "m.py").write_text(f"def f({parameter}): return type(x).__name__\n")
    flow = with_types(load_flow(tmp_path))
    with surroundings(flow):
        outcome = open_runner(flow).run(given)
    told = outcome.error.code if outcome.error else (outcome.output or {})["output"]
    assert told == found


def test_inputs_that_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "flow.flex.yaml").write_text("entry: m:f\n")
    (tmp_path / "m.py").write_text("NO = 1\ndef f(a, b=2, c: list = None, d=NO): return d\n")
    flow = load_flow(tmp_path)
    assert [name for name, item in flow.inputs.items() if item.required] == ["a"]
    with surroundings(flow):
        assert open_runner(with_types(flow)).run({"a": "x"}).output == {"output": 1}
