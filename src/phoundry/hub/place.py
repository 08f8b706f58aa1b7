"""Where the hub is, and whether we may go there.

`huggingface_hub` reads its environment once, when it is imported; here it is read when asked, so
that a notebook can set a variable and go on.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

_YES = ("1", "on", "yes", "true")


def address() -> str:
    """`HF_ENDPOINT`, or the hub itself."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or str(constants.ENDPOINT)).rstrip("/")


def shown_address() -> str:
    """`address`, for people: without the user and password that may stand in it."""
    whole = address()
    try:
        parts = urlsplit(whole)
    except ValueError:
        return "what HF_ENDPOINT says, which is no address,"
    if "@" not in parts.netloc:
        return whole
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def offline() -> bool:
    """Whether `HF_HUB_OFFLINE` forbids to use the network."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in _YES


def user_cache() -> Path:
    """The user's own cache of downloads: `HF_HUB_CACHE`, or `hub` in `HF_HOME`."""
    from huggingface_hub import constants

    if chosen := os.environ.get("HF_HUB_CACHE"):
        return Path(chosen).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(constants.HF_HUB_CACHE).expanduser()
