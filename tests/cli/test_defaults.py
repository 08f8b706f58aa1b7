"""Defaults of a deployment on the command line, against the real services."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from phoundry.services import endpoints
from phoundry.services.context import open_context
from phoundry.settings import Home
from phoundry.specs.endpoint import EndpointSpec
from phoundry.store.tables import DeploymentRow
from tests.cli.conftest import Shell


@pytest.fixture
def blue(home: Home) -> Iterator[None]:
    """A failed deployment `faq/blue`; no control plane runs."""
    context = open_context(home)
    endpoints.create(context, EndpointSpec(name="faq"))
    with context.database.begin() as session:
        spec = {
            "name": "blue",
            "endpoint_name": "faq",
            "model": "smollm2-135m-instruct",
            "engine": "llama.cpp",
            "context_length": None,
        }
        session.add(DeploymentRow(endpoint="faq", name="blue", state="Failed", spec=spec))
    yield
    context.database.close()


def test_defaults_are_changed_shown_and_taken_back(shell: Shell, blue: None) -> None:
    words = (
        "--temperature",
        "0.7",
        "--stop",
        "END",
        "--stop",
        "###",
        "--system-prompt",
        "Be brief.",
    )
    made = shell("deployment", "update", "faq/blue", *words, "-o", "json")
    assert made.code == 0, made.err
    expected = {"system_prompt": "Be brief.", "temperature": 0.7, "stop": ["END", "###"]}
    assert made.json["defaults"] == expected | {"top_p": None, "max_tokens": None}
    assert "Be brief." in shell("deployment", "show", "faq/blue").out
    undone = shell("deployment", "update", "faq/blue", "--unset", "stop", "-o", "json")
    assert undone.json["defaults"]["stop"] == []
    assert undone.json["defaults"]["temperature"] == 0.7


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--temperature", "3"), "less than or equal to 2"),
        (("--top-p", "0"), "greater than 0"),
        (("--stop", ""), "at least 1 character"),
        (("--unset", "heat"), "unknown key"),
        ((), "Nothing is to be changed"),
    ],
)
def test_what_is_out_of_range_is_refused(
    shell: Shell, blue: None, words: tuple[str, ...], told: str
) -> None:
    done = shell("deployment", "update", "faq/blue", *words)
    assert done.code in (1, 2)
    assert told in done.err
