"""A flow as one file of bytes that depend on nothing but its files, and back."""

from __future__ import annotations

import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

from phoundry.errors import TooLarge
from phoundry.files import atomic_folder, in_words
from phoundry.flows.model import Flow
from phoundry.serving.flow.copying import copy_flow

LARGEST = 200_000_000  # bytes of all files together
_MOMENT = (1980, 1, 1, 0, 0, 0)  # the oldest that the format knows: no time stands in it


def pack(flow: Flow) -> bytes:
    """A ZIP of the flow's files, and among them what it includes.

    Raises:
        TooLarge: they are more than such a copy is for.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "flow"
        copy_flow(flow, folder)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        size = sum(file.stat().st_size for file in files)
        if size > LARGEST:
            raise TooLarge(
                f"The flow's files have {in_words(size)}; the limit is {in_words(LARGEST)}.",
                remedy="Keep data out of the flow's folder.",
            )
        packed = BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _MOMENT)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, file.read_bytes())
    return packed.getvalue()


def unpack(packed: Path, destination: Path) -> None:
    """The files of `packed` in the folder `destination`, whole or not at all."""
    with atomic_folder(destination) as folder, zipfile.ZipFile(packed) as archive:
        archive.extractall(folder)  # leaves out drives, roots and `..` by itself
