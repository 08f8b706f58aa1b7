"""The notebook in `examples/` runs from its first cell to its last, in a kernel of its own."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import Site, new_site

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("notebook")]

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = EXAMPLES / "journey.ipynb"
# `PHOUNDRY_TEST_NOTEBOOK=real` runs it as a user does, with the model that it names.
REAL = os.environ.get("PHOUNDRY_TEST_NOTEBOOK") == "real"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = new_site(tmp_path)
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    # llama.cpp wants tokens that the tiny tokenizer lacks of whatever is called phi3.
    shutil.copytree(made.model, tmp_path / "tiny")
    try:
        yield made
    finally:
        made.run("down")


def read() -> Any:
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_a_clean_notebook() -> None:
    """No output of a machine is kept, and the cells are small."""
    notebook = read()
    pytest.importorskip("nbformat").validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
        assert len(cell.source.splitlines()) <= 20, cell.source


def test_it_runs(site: Site, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = read()
    if not REAL:
        place = next(
            number
            for number, cell in enumerate(notebook.cells)
            if "parameters" in cell.metadata.get("tags", [])
        )
        notebook.cells.insert(place + 1, other_parameters(tmp_path / "tiny"))
    client = nbclient.NotebookClient(
        notebook,
        timeout=1200,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path / "examples")}},
    )
    # The kernel sees this test's home and ports, as a user's sees theirs.
    client.execute(env=site.environ | {"JUPYTER_PLATFORM_DIRS": "1"})
    printed = texts(notebook)
    assert "notebook:1\n20 rows to learn from, 5 held out" in printed
    assert re.search(r"step \d+ of \d+: loss \d", printed)
    assert "notebook:1 is Ready" in printed
    assert "Succeeded" in printed
    assert answer(notebook, "chat.stream([{")
    assert answer(notebook, "conversation.ask")
    if REAL:
        assert "Marit Solberg" in answer(notebook, "conversation.ask")
    assert site.run("connection", "show", "notebook").returncode == 1  # cleaned up
    assert site.json("job", "list")[0]["status"] == "Completed"


def other_parameters(model: Path) -> Any:
    nbformat = pytest.importorskip("nbformat")
    source = f'MODEL = {str(model)!r}\nPARAMETERS = {{"num_train_epochs": 1, "lora_r": 4}}\n'
    return nbformat.v4.new_code_cell(source)


def texts(notebook: Any) -> str:
    """Everything that the cells have printed or shown."""
    return "".join(output_text(cell) for cell in notebook.cells)


def answer(notebook: Any, code: str) -> str:
    """What the one cell with `code` in it has printed."""
    (cell,) = (each for each in notebook.cells if code in each.source and "def " not in each.source)
    return output_text(cell).strip()


def output_text(cell: Any) -> str:
    outputs = cell.get("outputs", [])
    shown = (each.get("text") or each.get("data", {}).get("text/plain", "") for each in outputs)
    return "".join(shown)
