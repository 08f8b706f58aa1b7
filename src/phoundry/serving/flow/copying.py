"""A copy of a flow that stands alone: its files, and among them what it includes from elsewhere."""

from __future__ import annotations

import shutil
import zipfile
from itertools import islice
from pathlib import Path
from typing import Any

from phoundry.errors import Conflict, TooLarge
from phoundry.flows.batch.snapshot import MOST_FILES, files_in, flow_files
from phoundry.flows.errors import FlowError
from phoundry.flows.includes import sources
from phoundry.flows.load import load_flow
from phoundry.flows.model import Flow


def copy_flow(flow: Flow, folder: Path) -> None:
    """Copy the files of `flow` into `folder`, which is made. Those that hold keys stay behind.

    Raises:
        TooLarge: the folder has more files than such a copy is for.
        Conflict: the copy lacks what the flow needs.
    """
    folder.mkdir(parents=True)
    files = flow_files(flow)
    if len(files) == 1 and flow.kind != "prompty" and len(_some(flow.root)) > MOST_FILES:
        raise TooLarge(
            f"{flow.root} has more than {MOST_FILES:,} files.",
            remedy="Keep data, environments and results out of the flow's folder.",
        )
    for file, place in files:
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    for shared in sources(flow):
        if not shared.exists():  # NAME.zip of a folder NAME
            _zip(shared.with_suffix(""), folder / shared.name)
    if flow.additional_includes:
        _without_includes(folder / flow.file.name)
    try:
        load_flow(folder / flow.file.name)
    except FlowError as error:
        raise Conflict(
            f"A copy of the flow can't run: {error.message}",
            remedy="Links, files over 10 MB, and folders called env, venv or runs are not copied: "
            "put what the flow needs into its folder, or under `additional_includes`.",
        ) from None


def _some(folder: Path) -> list[Path]:
    return list(islice(files_in(folder), MOST_FILES + 1))


def _zip(folder: Path, target: Path) -> None:
    """`folder` in an archive that depends on nothing but its files."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files_in(folder):
            entry = zipfile.ZipInfo(file.relative_to(folder.parent).as_posix())
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())


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
