"""Tools are read, not run."""

from __future__ import annotations

import textwrap
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.flows.signature import Parameter, Signature, read_source


def only(source: str) -> Signature:
    [tool] = read_source(textwrap.dedent(source), "t.py").tools
    return tool


def parameter(annotation: str, before: str = "") -> Parameter:
    return only(f"{before}\n@tool\ndef t(x{annotation}): ...").parameters["x"]


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (": int", "int"),
        (": float", "double"),
        (": str = 'a'", "string"),
        (": list", "list"),
        (": List[int]", "object"),
        (": Optional[int] = None", "int"),
        (": int | None", "object"),
        (": 'int'", "object"),
        (": typing.Any", "object"),
        ("", "object"),
        ("=3", "int"),
        ("=True", "bool"),
        ("=None", "object"),
        ("=[]", "list"),
    ],
)
def test_kinds(annotation: str, kind: str) -> None:
    assert parameter(annotation).kind == kind
    assert parameter(annotation).has_default == ("=" in annotation)


def test_postponed_annotations_are_text_to_prompt_flow() -> None:
    before = "from __future__ import annotations"
    assert parameter(": int", before).kind == "object"
    assert parameter(": CustomConnection", before).connections == ("CustomConnection",)


@pytest.mark.parametrize(
    ("annotation", "classes"),
    [
        (": CustomConnection", ("CustomConnection",)),
        (": connections.OpenAIConnection", ("OpenAIConnection",)),
        (
            ": Union[OpenAIConnection, AzureOpenAIConnection]",
            ("OpenAIConnection", "AzureOpenAIConnection"),
        ),
        (": 'CustomConnection | None' = None", ("CustomConnection",)),
        (": Union[CustomConnection, str]", ()),
        (": str", ()),
    ],
)
def test_connections(annotation: str, classes: tuple[str, ...]) -> None:
    assert parameter(annotation).connections == classes


def test_a_class_of_the_users_own_takes_a_custom_connection() -> None:
    found = parameter(": Mine", "class Mine(CustomStrongTypeConnection):\n    key: str")
    assert found.connections == ("CustomConnection",)
    assert found.strong_type == "Mine"


def test_keys_are_followed_through_the_files_functions() -> None:
    tool = only(
        """
        def post(url, key): ...
        def deep(c): return c.secrets["token"], c.configs["region"]
        def ask(text, *, connection):
            post(connection.endpoint, connection["key"])
            return deep(connection), ask(text, connection=connection)
        @tool
        def t(text: str, conn: CustomConnection):
            return ask(text, connection=conn), conn.name, text.upper
        """
    )
    keys = tool.parameters["conn"].keys
    assert keys == {"endpoint", "key", "token", "region"}


def test_a_method_takes_its_classes_arguments_too() -> None:
    tool = only(
        """
        class T(ToolProvider):
            def __init__(self, conn: CustomConnection, k: int = 1): ...
            @tool
            def run(self, q: str): ...
        """
    )
    assert list(tool.parameters) == ["conn", "k", "q"]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("@tool\ndef a(): ...\n@core.tool(name='x')\nasync def b(): ...", ["a", "b"]),
        ("def a(): ...\n@trace\ndef b(): ...", []),
    ],
)
def test_which_functions_are_tools(source: str, names: list[str]) -> None:
    assert [tool.function for tool in read_source(source, "t.py").tools] == names


@given(st.text(alphabet="@tool\ndef (x: int|None=[]):.'\"cC", max_size=60))
def test_any_text_is_read_or_a_syntax_error(text: str) -> None:
    with suppress(SyntaxError, ValueError):
        read_source(text, "t.py")
