"""The guides about flows alone: they need no model, no endpoint and no control plane."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.documents import HOW_TO, Desk, blocks, execute
from tests.docs.test_examples import GUIDES
from tests.support.site import new_site

FLOW_GUIDES = (
    "flow-extensions",
    "flows-in-python",
    "traces",
    "batch-runs-of-flows",
    "move-from-prompt-flow",
)


@pytest.mark.parametrize("guide", FLOW_GUIDES)
def test_a_guide_can_be_followed(guide: str, tmp_path: Path) -> None:
    site = new_site(tmp_path)
    folder = tmp_path / "repository"
    folder.mkdir()
    desk = Desk(folder, site)
    document = HOW_TO / f"{guide}.md"
    for block in blocks(document):
        execute(desk, document, block)


def test_every_guide_is_walked() -> None:
    assert {path.stem for path in HOW_TO.glob("*.md")} == {*GUIDES, *FLOW_GUIDES}
