"""Includes beside a flow's own files while it runs, and nothing of it left afterwards."""

from __future__ import annotations

import tempfile
from pathlib import Path
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.flows import includes
from phoundry.flows.executor import surroundings
from phoundry.flows.includes import merged, place_of, running_file
from phoundry.flows.load import load_flow
from phoundry.flows.model import Flow
from tests.flows.conftest import MakeFlow

FLOW = "additional_includes: [../shared, ../data.txt]\noutputs: {}\nnodes: []\n"
FILES = {
    "flow/flow.dag.yaml": FLOW,
    "flow/own.txt": "own",
    "flow/data.txt": "inner",
    "flow/shared/b.txt": "b",
    "shared/deep/a.txt": "a",
    "data.txt": "outer",
}


def test_included_files_win_and_folders_become_one(make_flow: MakeFlow) -> None:
    root = make_flow(FILES, name="tree")
    flow = load_flow(root / "flow")
    before = Path.cwd()
    with surroundings(flow):
        place = place_of(flow)
        assert Path.cwd() == place != flow.root
        assert Path("data.txt").read_text() == "outer"
        assert Path("own.txt").read_text() == "own"
        assert sorted(item.name for item in Path("shared").iterdir()) == ["b.txt", "deep"]
        assert running_file(flow, flow.root / "own.txt") == place / "own.txt"
        included = root / "shared/deep/a.txt"
        assert running_file(flow, included) == place / "shared/deep/a.txt"
        Path("made.txt").write_text("x")
    assert Path.cwd() == before
    assert place_of(flow) == flow.root
    assert not place.exists()
    assert (root / "flow/data.txt").read_text() == "inner"
    assert not (root / "flow/made.txt").exists()


def test_a_zip_of_a_folder_that_is_there_is_made(make_flow: MakeFlow) -> None:
    yaml = "additional_includes: [../shared.zip]\noutputs: {}\nnodes: []\n"
    files = {"flow/flow.dag.yaml": yaml, "shared/a.txt": "a"}
    flow = load_flow(make_flow(files, name="tree") / "flow")
    with merged(flow) as place, ZipFile(place / "shared.zip") as archive:
        assert archive.read("shared/a.txt") == b"a"


def test_a_flow_without_includes_runs_in_its_own_folder(make_flow: MakeFlow) -> None:
    flow = load_flow(make_flow({"flow.dag.yaml": "outputs: {}\nnodes: []\n"}))
    with merged(flow) as place:
        assert place == flow.root
        assert running_file(flow, flow.file) == flow.file


def test_the_folder_is_gone_after_a_failure_too(make_flow: MakeFlow) -> None:
    flow = load_flow(make_flow(FILES, name="tree") / "flow")
    seen: list[Path] = []
    try:
        with merged(flow) as place:
            seen.append(place)
            raise KeyError
    except KeyError:
        pass
    assert not seen[0].exists()


@given(st.lists(st.sampled_from(["", ".", "..", "./", "../flow"]), max_size=3))
def test_entries_that_name_the_flow_itself_are_none(items: list[str]) -> None:
    root = Path(__file__).parent.resolve()
    flow = Flow(root, root / "flow.dag.yaml", {}, {}, (), additional_includes=tuple(items))
    with merged(flow) as place:
        assert place == root or "../flow" in items


def test_linked_folders_come_along_and_kinds_may_clash(make_flow: MakeFlow, tmp_path: Path) -> None:
    """Found with `additional_includes` beside a link to data: the folder was not there."""
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "f.txt").write_text("big")
    root = make_flow(
        {
            "flow/flow.dag.yaml": "additional_includes: [../a, ../b, ../both]\nnodes: []\n",
            "flow/a/inner.txt": "was a folder",
            "flow/b": "was a file",
            "a": "is a file",
            "b/inner.txt": "is a folder",
            "both/g.txt": "g",
        },
        name="links",
    )
    for place in ("flow/data", "flow/both", "b/more"):
        (root / place).symlink_to(tmp_path / "big")
    flow = load_flow(root / "flow")
    with surroundings(flow):
        assert Path("data/f.txt").read_text() == Path("b/more/f.txt").read_text() == "big"
        assert Path("a").read_text() == "is a file"
        assert Path("b/inner.txt").read_text() == "is a folder"
        assert sorted(item.name for item in Path("both").iterdir()) == ["f.txt", "g.txt"]
    assert [item.name for item in (tmp_path / "big").iterdir()] == ["f.txt"]


def test_folders_of_killed_processes_go_and_those_in_use_stay(
    make_flow: MakeFlow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every `flow test` of a flow with includes left a folder behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(includes, "SETTLED", -1.0)
    left = tmp_path / f"{includes.PREFIX}left"
    left.mkdir()
    (left / "data").symlink_to(make_flow({"kept.txt": ""}, name="kept"))
    elsewhere = tmp_path / f"{includes.PREFIX}link"
    elsewhere.symlink_to(tmp_path)
    flow = load_flow(make_flow(FILES, name="tree") / "flow")
    other = load_flow(make_flow(FILES, name="other") / "flow")
    with merged(flow) as first, merged(other) as second:
        assert not left.exists()
        assert (first / "own.txt").exists()
        assert (second / "own.txt").exists()
    assert not first.exists()
    assert elsewhere.is_symlink()
