"""Where the hub is, and whether we may go there.

`huggingface_hub` reads its environment once, when it is imported; here it is read when asked, so
that a notebook can set a variable and go on.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from phoundry.settings import Settings


def address() -> str:
    """`HF_ENDPOINT`, or the hub itself."""
    from huggingface_hub import constants

    return Settings().hub_endpoint or str(constants.ENDPOINT).rstrip("/")


def shown_address() -> str:
    """`address`, for people."""
    return without_password(address())


def without_password(whole: str) -> str:
    """An address of a hub without the user and password that may stand in it."""
    try:
        parts = urlsplit(whole)
    except ValueError:
        return "what HF_ENDPOINT says, which is no address,"
    if "@" not in parts.netloc:
        return whole
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def offline() -> bool:
    """Whether `HF_HUB_OFFLINE` forbids to use the network."""
    return Settings().hub_offline


def user_cache() -> Path:
    """The user's own cache of downloads: `HF_HUB_CACHE`, or `hub` in `HF_HOME`."""
    from huggingface_hub import constants

    return Settings().hub_cache or Path(constants.HF_HUB_CACHE).expanduser()
