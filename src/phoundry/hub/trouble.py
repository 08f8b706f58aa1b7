"""What can go wrong with a hub, in words that say what to do."""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from phoundry.errors import (
    Forbidden,
    InsufficientResources,
    InvalidInput,
    NotFound,
    PhoundryError,
    Unavailable,
)
from phoundry.hub import cache
from phoundry.hub.kinds import Kind
from phoundry.hub.place import shown_address, user_cache

# The control plane does the fetching of models, with the environment that it was started in.
_RESTART = "A Phoundry that runs already knows of it after `phoundry down`."
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def explained(hub_id: str, kind: Kind) -> Generator[None]:
    """Turn the errors of `huggingface_hub` and `httpx` into ours.

    Raises:
        NotFound: the hub has no such repository, or hides it from this token.
        Forbidden: it is gated, and not open to this token.
        Unavailable: offline, not to be reached, or the hub itself has failed.
    """
    from httpx import HTTPError, InvalidURL
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise gated(hub_id, kind) from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise unknown(hub_id, kind) from None
    except errors.OfflineModeIsEnabled:
        raise offline(hub_id, kind) from None
    except (HTTPError, InvalidURL, errors.HfHubHTTPError) as error:
        response = getattr(error, "response", None)
        status = f"answered {response.status_code}" if response is not None else _words(error)
        raise unreachable(hub_id, kind, status) from error


def check_token() -> None:
    """Raise InvalidInput where the token cannot be one: sent, it would stand in errors of others.

    The token itself is not said.
    """
    from huggingface_hub import get_token

    token = get_token() or ""
    if not all("!" <= character <= "~" for character in token):
        raise InvalidInput(
            "The token of Hugging Face has characters that no token has (a space, an accent, or "
            "what cannot be seen).",
            remedy="Copy it again into HF_TOKEN, or run `hf auth login`.",
        )


def gated(hub_id: str, kind: Kind) -> PhoundryError:
    from huggingface_hub import get_token

    page = f"{shown_address()}/{kind.prefix}{hub_id}"
    if get_token():
        return Forbidden(
            f"The {kind.noun} '{hub_id}' is gated, and the account of HF_TOKEN is not let in.",
            remedy=f"Accept its terms with that account at {page}, then try again.",
        )
    return Forbidden(
        f"The {kind.noun} '{hub_id}' is gated: its terms must be accepted first.",
        remedy=f"Accept them at {page}, make a token with read access there, and set HF_TOKEN "
        f"or run `hf auth login`. {_RESTART}",
    )


def unknown(hub_id: str, kind: Kind) -> PhoundryError:
    from huggingface_hub import get_token

    private = "HF_TOKEN has no access to it."
    if not get_token():
        private = f"it is private: then set HF_TOKEN. {_RESTART}"
    return NotFound(
        f"The hub at {shown_address()} has no {kind.noun} '{hub_id}'.",
        remedy=f"Check the spelling (OWNER/NAME); or {private}",
    )


def offline(hub_id: str, kind: Kind) -> PhoundryError:
    return Unavailable(
        f"The {kind.noun} '{hub_id}' is not on this machine, and HF_HUB_OFFLINE is set.",
        remedy=f"{_cached(kind)} Unset HF_HUB_OFFLINE, or name a local folder.{kind.hint} "
        f"{_RESTART}",
    )


def unreachable(hub_id: str, kind: Kind, reason: str) -> PhoundryError:
    return Unavailable(
        f"The hub at {shown_address()} cannot be reached for the {kind.noun} '{hub_id}': "
        f"it {reason}.",
        remedy="Check the network and HF_ENDPOINT, or name a local folder. "
        f"{_cached(kind)}{kind.hint}",
    )


def full(folder: Path, missing: str) -> PhoundryError:
    """`missing`: what is not there yet, as a clause."""
    return InsufficientResources(
        f"The disk of {folder} is full: {missing}.",
        remedy="Make room, or set PHOUNDRY_HOME to a larger disk. What has come is kept: "
        "the next try goes on from there.",
    )


def is_full(error: OSError) -> bool:
    return error.errno in _FULL


def size(count: int) -> str:
    """Bytes for people: `3 bytes`, `12 MB`, `1.2 GB`."""
    if count < 1_000_000:
        return f"{count:,} bytes"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _cached(kind: Kind) -> str:
    names = cache.repositories(kind)
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"In the cache of Hugging Face ({user_cache()}): {shown or f'no {kind.noun}'}."


def _words(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return f"did not answer ({text})"
