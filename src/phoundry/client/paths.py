"""Paths that a user writes mean places seen from where the user is, not from where the control
plane was started."""

from __future__ import annotations

import os
from pathlib import Path


def located(model: str, folder: Path | None = None) -> str:
    """`model` with a path made absolute; a name, a version or a hub id as it is.

    A relative path is seen from `folder`, or from where this process is.

    A path begins with `.` or `~`, ends in `.gguf`, or has a slash and is there. A bare word stays a
    name, even where a folder is called so: write `./word` for the folder.
    """
    written = (folder or Path()) / Path(model).expanduser()
    looks_like_path = model.startswith((".", "~")) or model.lower().endswith(".gguf")
    if looks_like_path or ("/" in model and written.exists()):
        return os.path.normpath(written.absolute())
    return model
