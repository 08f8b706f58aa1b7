"""A copy of a flow that stands alone: its files, and among them what it includes from elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from phoundry.flows.batch.snapshot import flow_files
from phoundry.flows.model import Flow


def copy_flow(flow: Flow, folder: Path) -> None:
    """Copy the files of `flow` into `folder`, which is made. Those that hold keys stay behind."""
    folder.mkdir(parents=True)
    for file, place in flow_files(flow):
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    if flow.additional_includes:
        _without_includes(folder / flow.file.name)


def _without_includes(file: Path) -> None:
    """What is included stands in the folder now, and there is nothing beside it."""
    from ruamel.yaml import YAML

    editor = YAML()
    editor.preserve_quotes = True  # pyright: ignore[reportAttributeAccessIssue]
    with file.open(encoding="utf-8") as reading:
        document: Any = editor.load(reading)
    del document["additional_includes"]
    with file.open("w", encoding="utf-8") as writing:
        editor.dump(document, writing)
