"""The `promptflow` names, inside `import_names()` only."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

from phoundry.flows.provided import import_names
from phoundry.flows.provided.finder import TABLE


@pytest.mark.parametrize("module", sorted(TABLE))
def test_every_name_of_the_table_imports(module: str) -> None:
    with import_names():
        found = importlib.import_module(module)
        for name in TABLE[module]:
            assert getattr(found, name) is not None


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("import promptflow.azure", "'promptflow.azure' to flows; run the flow here"),
        ("from promptflow.tools.open_model_llm import OpenModelLLM", "HTTP API"),
        ("from promptflow.evals.evaluators import CoherenceEvaluator", "prompty"),
        ("from promptflow.client import load_run", "phoundry run list"),
        ("from promptflow import nothing_like_it", "'promptflow.nothing_like_it'"),
    ],
)
def test_what_is_not_provided_says_so(line: str, text: str) -> None:
    with import_names(), pytest.raises(ImportError) as caught:
        exec(line, {})
    assert text in str(caught.value)


def test_an_installed_promptflow_is_hidden_and_comes_back() -> None:
    real = ModuleType("promptflow")
    real.tool = "theirs"  # type: ignore[attr-defined]
    sys.modules["promptflow"] = real
    try:
        with import_names():
            from promptflow import tool  # type: ignore[import-not-found]

            assert tool != "theirs"
        assert sys.modules["promptflow"] is real
    finally:
        del sys.modules["promptflow"]


def test_nothing_is_left_behind() -> None:
    before = list(sys.meta_path)
    with import_names():
        importlib.import_module("promptflow.core")
    assert sys.meta_path == before
    assert not [name for name in sys.modules if name.split(".")[0] == "promptflow"]


def test_loading_a_flow_needs_no_heavy_package() -> None:
    """What a session imports before the user's code; pydantic and httpx would double its start."""
    program = (
        "import sys; import phoundry.flows.session.__main__\n"
        "heavy = {'pydantic', 'httpx', 'requests', 'torch', 'sqlalchemy', 'typer', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_images_know_their_kind() -> None:
    with import_names():
        image = importlib.import_module("promptflow.contracts.multimedia").Image
    assert (
        image(b"\xff\xd8\xff rest").to_base64(with_type=True).startswith("data:image/jpeg;base64,")
    )
