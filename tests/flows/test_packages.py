"""Package tools as checks see them: read from their descriptions, nothing of theirs run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from phoundry.flows.connections import wanted_connections
from phoundry.flows.errors import NodeInputValidationError, PackageToolNotFound
from phoundry.flows.load import load_flow
from phoundry.flows.tools.packages import describe, load
from tests.flows.conftest import MakeFlow

FLOW = """\
outputs: {}
nodes:
- name: n
  type: python
  source: {type: package, tool: seen_tools.find}
  inputs: {connection: mine, count: COUNT}
"""
DESCRIPTION = """\
seen_tools.find:
  name: Find
  type: python
  module: seen_tools.find
  function: find
  inputs:
    connection: {type: [SerpConnection]}
    count: {type: [int]}
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that says so when it is imported."""
    place = tmp_path / "site"
    files = {
        "seen_tools/__init__.py": "raise RuntimeError('imported')\n",
        "seen_tools/yamls/tools.yaml": DESCRIPTION,
        "seen_tools/yamls/other.yaml": "[",
        "seen_tools-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: seen-tools\nVersion: 1\n",
        "seen_tools-1.dist-info/entry_points.txt": "[package_tools]\na = seen_tools:tools\n",
    }
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)
    monkeypatch.syspath_prepend(str(place))
    return place


@pytest.mark.usefixtures("installed")
def test_a_check_reads_the_description_and_imports_nothing(make_flow: MakeFlow) -> None:
    flow = load_flow(make_flow({"flow.dag.yaml": FLOW.replace("COUNT", "'3'")}))
    (wanted,) = wanted_connections(flow)
    assert (wanted.place, wanted.classes, wanted.written) == (
        "n.connection",
        ("SerpConnection",),
        "mine",
    )
    assert "seen_tools" not in sys.modules
    with pytest.raises(NodeInputValidationError, match="not type int"):
        load_flow(make_flow({"flow.dag.yaml": FLOW.replace("COUNT", "many")}, name="wrong"))


def test_a_package_that_is_elsewhere_is_no_fault_of_the_flow(make_flow: MakeFlow) -> None:
    flow = load_flow(make_flow({"flow.dag.yaml": FLOW.replace("COUNT", "many")}))
    assert [item.place for item in wanted_connections(flow)] == ["n.connection"]


@pytest.mark.usefixtures("installed")
def test_a_package_that_fails_offers_nothing() -> None:
    assert describe("seen_tools.find") is not None
    with pytest.raises(PackageToolNotFound, match=r"seen_tools\.find"):
        load("seen_tools.find")


def test_a_tool_that_nobody_offers_says_what_to_do() -> None:
    with pytest.raises(PackageToolNotFound) as caught:
        load("quux")
    assert "Install the package" in str(caught.value.remedy)
    with pytest.raises(PackageToolNotFound, match="'None' is not found"):
        load(None)
