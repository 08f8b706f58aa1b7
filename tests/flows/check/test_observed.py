"""The validator against what Prompt flow was observed to do: a flow that runs has no error, one
that does not load has one. Every eighth row; the validator and the loader see all of them alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.errors import NotFound, PhoundryError
from phoundry.flows import load_flow
from phoundry.flows.check import check_flow
from tests.conformance.test_observed import FILES, write
from tests.conformance.test_promptflow import rows

STEP = 8


@pytest.mark.parametrize("topic", FILES, ids=[file.stem for file in FILES])
def test_observed_flows(topic: Path, tmp_path: Path) -> None:
    for number, row in enumerate(rows(topic)[::STEP]):
        if row.keys() & {"package", "node", "variant"}:
            continue  # needs more than a folder, or runs a part of it
        folder = tmp_path / str(number)
        folder.mkdir()
        write(row, folder)
        try:
            report = check_flow(folder / row["file"])
        except NotFound:
            continue
        runs = "expected_output" in (row.get("ours") or row)
        assert not (runs and report.errors), (row["id"], report.errors)
        try:
            load_flow(folder / row["file"])
        except PhoundryError:
            assert report.errors, row["id"]
