"""Which connection fills which input."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.errors import Conflict, NotFound, PhoundryError, UsageError
from phoundry.flows import choose_connections, load_flow
from phoundry.flows.connections import split_overrides
from phoundry.flows.model import Flow
from phoundry.specs.connection import ConnectionValues
from tests.flows.conftest import Connections, MakeFlow, custom

TOOL = """\
from promptflow.core import tool
from promptflow.connections import CustomConnection, OpenAIConnection
@tool
def t(c: CustomConnection, o: OpenAIConnection = None):
    return c.endpoint, c.key
"""


@pytest.fixture
def flow(make_flow: MakeFlow) -> Flow:
    return flow_with(make_flow)


def flow_with(make_flow: MakeFlow, named: str = "") -> Flow:
    yaml = (
        "nodes:\n- name: n\n  type: python\n  source: {type: code, path: t.py}\n"
        f"  inputs: {{{named}}}\n"
    )
    return load_flow(make_flow({"flow.dag.yaml": yaml, "t.py": TOOL}))


FIT = custom("fit", endpoint="e", key="k")
FIT_TOO = custom("fit-too", {"endpoint": "e"}, key="k")
OTHER = custom("other", {"region": "r"})
OPENAI = ConnectionValues(name="oai", type="open_ai", secrets={"api_key": "k"})


def choose(flow: Flow, *values: ConnectionValues, remembered: str | None = None, **overrides: str):
    kept = {"n.c": remembered} if remembered else {}
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    return choose_connections(flow, Connections(*values).list(), kept, given)


def test_the_only_one_that_has_the_keys(flow: Flow) -> None:
    assert choose(flow, OTHER, FIT, OPENAI) == {"n.c": "fit"}


def test_an_optional_connection_is_left_to_its_default_unless_it_is_given(flow: Flow) -> None:
    assert choose(flow, FIT, OPENAI, n__o="oai") == {"n.c": "fit", "n.o": "oai"}


def test_remembered_wins_over_fitting_and_override_over_both(flow: Flow) -> None:
    assert choose(flow, FIT, FIT_TOO, remembered="fit-too") == {"n.c": "fit-too"}
    assert choose(flow, FIT, FIT_TOO, remembered="fit", n__c="fit-too") == {"n.c": "fit-too"}


def test_the_files_own_name_wins_over_what_is_remembered(make_flow: MakeFlow) -> None:
    flow = flow_with(make_flow, "c: fit")
    assert choose(flow, FIT, FIT_TOO, remembered="fit-too") == {"n.c": "fit"}
    assert choose(flow, FIT, FIT_TOO, n__c="fit-too") == {"n.c": "fit-too"}


def test_a_remembered_connection_that_is_gone_is_chosen_anew(flow: Flow) -> None:
    assert choose(flow, FIT, remembered="gone") == {"n.c": "fit"}


@pytest.mark.parametrize(
    ("values", "overrides", "error", "text"),
    [
        ([], {}, NotFound, "Connections there are: none"),
        ([OTHER, OPENAI], {}, NotFound, "with the keys endpoint, key"),
        ([FIT, FIT_TOO], {}, Conflict, "--connections n.c=fit"),
        ([FIT], {"n__c": "fitt"}, NotFound, "Did you mean fit?"),
        ([FIT], {"n__x": "fit"}, UsageError, "It has n.o, n.c"),
    ],
)
def test_unclear_choices(
    flow: Flow,
    values: list[ConnectionValues],
    overrides: dict[str, str],
    error: type[PhoundryError],
    text: str,
) -> None:
    with pytest.raises(error) as caught:
        choose(flow, *values, **overrides)
    assert text in str(caught.value)


def test_a_connection_from_another_node_or_input_is_not_chosen(make_flow: MakeFlow) -> None:
    yaml = (
        "inputs:\n  c: {type: string}\nnodes:\n- name: n\n  type: python\n"
        "  source: {type: code, path: t.py}\n  inputs: {c: '${inputs.c}'}\n"
    )
    assert choose(load_flow(make_flow({"flow.dag.yaml": yaml, "t.py": TOOL}))) == {}


def test_overrides_of_models_are_told_from_those_of_connections(make_flow: MakeFlow) -> None:
    yaml = "nodes:\n- {name: a, type: llm, source: {type: code, path: p}, inputs: {}}\n"
    flow = load_flow(make_flow({"flow.dag.yaml": yaml, "p": "user:\n"}))
    given = {"a.connection": "c", "a.model": "m", "${a.deployment_name}": "d"}
    assert split_overrides(flow, given) == (
        {"a.connection": "c"},
        {"a.model": "m", "a.deployment_name": "d"},
    )
    for wrong in ("aa.model", "a", "zz"):
        with pytest.raises(UsageError, match=r"NODE\.INPUT=VALUE"):
            split_overrides(flow, {wrong: "x"})


def test_a_custom_connection_stands_in_for_another_type_where_its_keys_are_read(
    make_flow: MakeFlow, tmp_path: Path
) -> None:
    tool = (
        "from promptflow.core import tool\nfrom promptflow.connections import OpenAIConnection\n"
        "@tool\ndef t(c: OpenAIConnection):\n"
        "    return [type(c).__name__, c.api_key, c.base_url, c.organization]\n"
    )
    yaml = (
        "outputs:\n  o: {type: list, reference: '${n.output}'}\nnodes:\n"
        "- {name: n, type: python, source: {type: code, path: t.py}}\n"
    )
    flow = load_flow(make_flow({"flow.dag.yaml": yaml, "t.py": tool}))
    values = custom("mine", {"base_url": "http://x", "organization": "o"}, api_key="k")
    assert flow.using(Connections(values))() == {"o": ["OpenAIConnection", "k", "http://x", "o"]}


def test_a_users_own_connection_class(make_flow: MakeFlow) -> None:
    tool = (
        "from promptflow.core import tool\n"
        "from promptflow.connections import CustomStrongTypeConnection\n"
        "class Mine(CustomStrongTypeConnection):\n    key: str\n"
        "    def doubled(self):\n        return self.key * 2\n"
        "@tool\ndef t(c: Mine):\n    return c.doubled()\n"
    )
    yaml = (
        "outputs:\n  o: {type: string, reference: '${n.output}'}\nnodes:\n"
        "- {name: n, type: python, source: {type: code, path: t.py}, inputs: {c: mine}}\n"
    )
    flow = load_flow(make_flow({"flow.dag.yaml": yaml, "t.py": tool}))
    assert flow.using(Connections(custom("mine", key="k")))() == {"o": "kk"}
