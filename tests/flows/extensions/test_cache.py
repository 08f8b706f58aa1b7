"""`cache` as it runs: what is the same call, what is kept, for how long and how much."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.flows import load_flow
from phoundry.flows.executor import Executor
from phoundry.flows.extensions.cache import NotPlain, plain
from phoundry.flows.extensions.store import Store
from phoundry.settings import Home
from tests.flows.conftest import Connections, Endpoint, MakeFlow, custom
from tests.flows.extensions.conftest import IMPORTS, node

Open = Callable[..., Executor]
INPUTS = "{q: {type: object, default: 1}, r: {type: object, default: 1}}"
OUTPUTS = "{o: {type: object, reference: '${n.output}'}}"


def counting(calls: Path, result: str = "[x, y]") -> str:
    return f"def t(x, y=None):\n    open({str(calls)!r}, 'a').write('.')\n    return {result}\n"


@pytest.fixture
def cached(home: Home, open_flow: Open, calls: Path) -> Callable[..., Any]:
    """`cached(more, result)` gives a function that runs and says how often the tool was called."""

    def make(more: str = "  cache: true\n", result: str = "[x, y]", **options: Any) -> Any:
        nodes = node("n", more, x="${inputs.q}", y="${inputs.r}")
        executor = open_flow(
            nodes, counting(calls, result), inputs=INPUTS, outputs=OUTPUTS, **options
        )

        def ask(**inputs: Any) -> tuple[Any, int]:
            outcome = executor.run(inputs)
            assert outcome.error is None, outcome.error
            assert outcome.output is not None
            return outcome.output["o"], len(calls.read_text()) if calls.exists() else 0

        return ask

    return make


def test_the_same_call_is_made_once(cached: Any) -> None:
    ask = cached()
    assert ask(q={"a": [1, "ü"]}) == ([{"a": [1, "ü"]}, 1], 1)
    assert ask(q={"a": [1, "ü"]}) == ([{"a": [1, "ü"]}, 1], 1)
    assert ask(q={"a": [1, "ü"]}, r=2) == ([{"a": [1, "ü"]}, 2], 2)


@pytest.mark.parametrize(("one", "other"), [(1, "1"), (1, 1.0), (1, True), (None, ""), ([], {})])
def test_values_of_other_types_are_other_calls(cached: Any, one: Any, other: Any) -> None:
    ask = cached()
    ask(q=[one])
    found, calls = ask(q=[other])
    assert (found, calls) == ([[other], 1], 2)
    assert type(found[0][0]) is type(other)


def test_key_names_the_inputs_that_count(cached: Any) -> None:
    ask = cached("  cache: {key: [x]}\n")
    assert ask(q=1, r=1) == ([1, 1], 1)
    assert ask(q=1, r=2) == ([1, 1], 1)
    assert ask(q=2, r=2) == ([2, 2], 2)


def test_a_value_that_is_too_old_is_made_again(cached: Any) -> None:
    ask = cached("  cache: {ttl: 0}\n")
    assert [ask(q=1)[1], ask(q=1)[1]] == [1, 2]
    ask = cached("  cache: {ttl: 3600}\n", result="1")
    assert [ask(q=1)[1], ask(q=1)[1]] == [3, 3]


def test_other_code_is_another_call(cached: Any) -> None:
    assert cached(result="1")(q=1) == (1, 1)
    assert cached(result="2")(q=1) == (2, 2)
    helper = {"helper.py": f"{IMPORTS}N = 1\n"}
    assert cached(result="2", files=helper)(q=1) == (2, 3)  # it might import it
    assert cached(result="2", files=helper)(q=1) == (2, 3)


@pytest.mark.parametrize("result", ["(1, 2)", "{1: 2}", "float('nan')", "[b'x']"])
def test_what_json_changes_is_not_kept(
    home: Home, open_flow: Open, calls: Path, result: str
) -> None:
    nodes = node("a", "  cache: true\n", x=1) + node("n", path="n.py", x="${a.output}")
    files = {"n.py": f"{IMPORTS}@tool\ndef n(x):\n    return repr(x)\n"}
    executor = open_flow(nodes, counting(calls, result), outputs=OUTPUTS, files=files)
    first, second = (executor.run({}).output for _ in range(2))
    assert first == second == {"o": repr(eval(result))}
    assert calls.read_text() == ".."


def test_a_failure_is_not_kept(home: Home, open_flow: Open, calls: Path) -> None:
    executor = open_flow(node("n", "  cache: true\n", x=0), counting(calls, "1 / x"))
    assert [executor.run({}).error is None for _ in range(2)] == [False, False]
    assert calls.read_text() == ".."


def test_files_are_the_users_alone_and_whole(home: Home, cached: Any) -> None:
    cached()(q="canary")
    [file] = (home.root / "cache" / "flows").rglob("*.json")
    assert file.stat().st_mode & 0o077 == 0
    assert json.loads(file.read_text())["value"] == ["canary", 1]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"made": "x", "value": 1}', '{"made": 1}'])
def test_a_broken_file_counts_as_none(home: Home, cached: Any, content: str) -> None:
    ask = cached()
    ask(q=1)
    [file] = (home.root / "cache" / "flows").rglob("*.json")
    file.write_text(content)
    assert ask(q=1) == ([1, 1], 2)


def test_a_cache_that_cannot_be_written_costs_nothing_else(
    home: Home, cached: Any, caplog: pytest.LogCaptureFixture
) -> None:
    home.make()
    home.cache.mkdir()
    (home.cache / "flows").write_text("a file where the folder would be")
    ask = cached()
    assert [ask(q=1), ask(q=1)] == [([1, 1], 1), ([1, 1], 2)]
    assert "The value of node 'n' can't be kept" in caplog.text


def test_the_least_used_go_first(tmp_path: Path) -> None:
    store = Store(tmp_path, most=10_000)
    for number in range(10):
        store.put(f"{number:02}", "x" * 1000)
        os.utime(tmp_path / f"{number:02}" / f"{number:02}.json", (number, number))
    store.get("00", None)  # used just now
    store.tidy()
    kept = {file.stem for file in tmp_path.rglob("*.json")}
    assert "00" in kept
    assert kept - {"00"} == {f"{number:02}" for number in range(10 - len(kept) + 1, 10)}
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.json")) <= 7_500


def test_a_value_that_would_fill_the_cache_is_not_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("aa", "x" * (16 * 1024 * 1024))
    assert store.get("aa", None) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_plain_values_are_those_that_json_gives_back(value: Any) -> None:
    try:
        plain(value)
    except NotPlain:
        return
    back = json.loads(json.dumps(value))
    assert repr(back) == repr(value)  # repr tells 1 from 1.0 and True


ASK = (
    "inputs: {q: {type: string, default: hi}}\n"
    "outputs: {o: {type: string, reference: '${n.output}'}}\nnodes:\n"
    "- name: n\n  type: llm\n  source: {type: code, path: p.jinja2}\n  api: chat\n"
    "  inputs: {q: '${inputs.q}', model: MODEL}\n  connection: c\n  cache: true\n"
)


def test_a_model_is_asked_once_for_the_same(
    home: Home, make_flow: MakeFlow, endpoint: Endpoint
) -> None:
    endpoint.reply = lambda body: (
        200,
        {"choices": [{"message": {"content": f"{body['model']} {len(endpoint.requests)}"}}]},
    )

    def ask(model: str, key: str, prompt: str = "user:\n{{q}}", **inputs: str) -> str:
        folder = make_flow({"flow.dag.yaml": ASK.replace("MODEL", model), "p.jinja2": prompt})
        there = Connections(custom("c", {"api_base": endpoint.url}, key=key))
        return load_flow(folder).using(there)(**inputs)["o"]

    assert ask("a", "canary-1") == "a 1"
    assert ask("a", "canary-2") == "a 1"  # another key is the same server and model
    assert ask("b", "canary-1") == "b 2"
    assert ask("a", "canary-1", q="ho") == "a 3"
    assert ask("a", "canary-1", prompt="user:\n{{q}}?") == "a 4"
    kept = [file.read_text() for file in (home.root / "cache" / "flows").rglob("*.json")]
    assert len(kept) == 4
    assert not any("canary" in text for text in kept)


@pytest.mark.parametrize(
    "made",
    [
        "exec('a = []; a.append(a)', g := {}) or g['a']",
        "__import__('functools').reduce(lambda a, _: [a], range(9000), [])",
        "10 ** 5000",
    ],
)
def test_what_no_json_has_is_not_kept(open_flow: Open, home: Home, made: str) -> None:
    """A list that holds itself hung; the others ended the run."""
    nodes = node("n", "  cache: true\n", x="1") + node("m", x="2")
    executor = open_flow(nodes, f"def t(x):\n    return {made} if x == 1 else x\n")
    assert executor.run({}).error is None


def test_the_flows_variables_tell_calls_apart(
    open_flow: Open, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    yaml = "environment_variables: {PHOUNDRY_TEST_MODE: '${env:PHOUNDRY_TEST_GIVEN}'}\nnodes:\n"
    tool = "import os\n@tool\ndef t(x):\n    return os.environ['PHOUNDRY_TEST_MODE']\n"
    found: list[Any] = []
    for mode in ("a", "b", "a"):
        monkeypatch.setenv("PHOUNDRY_TEST_GIVEN", mode)
        executor = open_flow(
            node("n", "  cache: true\n", path="mode.py", x="1"),
            outputs=OUTPUTS + "\n" + yaml.removesuffix("nodes:\n").strip(),
            files={"mode.py": IMPORTS + tool},
        )
        found.append((executor.run({}).output or {})["o"])
    assert found == ["a", "b", "a"]


def test_a_home_that_can_not_be_used_costs_no_run(
    open_flow: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PHOUNDRY_HOME", str(tmp_path / "file" / "home"))
    executor = open_flow(node("n", "  cache: true\n", x="7"), outputs=OUTPUTS)
    assert executor.run({}).output == {"o": 7}
