"""What the documents tell a reader to type, typed; and what they show, compared.

Blocks marked `sh` and `python` must succeed, `console` blocks must print what they show. Blocks
marked `text` are not run: they need another machine, a terminal or minutes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docs.documents import HOW_TO, ROOT, Desk, blocks, execute
from tests.docs.ollama import ollama_store
from tests.support.site import new_site

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("docs")]

TUTORIAL = ROOT / "docs" / "tutorial.md"
LAST = "When you are done"
# They go on from the tutorial, in this order; each leaves behind what it found.
GUIDES = (
    "your-own-data",
    "plan-and-pause",
    "prompt-flow-folder",
    "serve-a-flow",
    "traffic",
    "protect-and-watch",
    "collect-and-train",
    "batch",
    "scale",
    "azure-ml-yaml",
    "training-parameters",
    "from-azure-ml",
    "from-ollama",
    "python",
    "apply",
    "mlflow",
    "watch-a-fine-tune",
    "hub-model",
    "without-network",
    "machine",
    "troubleshooting",
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Where the tutorial has been walked up to its end, where things are deleted."""
    site = new_site(tmp_path_factory.mktemp("docs"))
    folder = site.home.parent / "repository"
    folder.mkdir()
    made = Desk(folder, site)
    try:
        made.run(f"export OLLAMA_MODELS={ollama_store(site.home.parent)}")
        for block in blocks(TUTORIAL):
            if block.section != LAST:
                execute(made, TUTORIAL, block)
        yield made
    finally:
        site.run("down")


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_can_be_followed(desk: Desk, guide: str) -> None:
    document = HOW_TO / f"{guide}.md"
    found = blocks(document)
    assert found
    for block in found:
        execute(desk, document, block)


def test_the_tutorial_cleans_up(desk: Desk) -> None:
    last = [block for block in blocks(TUTORIAL) if block.section == LAST]
    assert last
    for block in last:
        execute(desk, TUTORIAL, block)
    assert desk.run("phoundry status -o json | grep '\"running\": false'").returncode == 0
