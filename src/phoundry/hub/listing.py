"""What a repository of the hub holds, before any of it is fetched."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from phoundry.hub import trouble
from phoundry.hub.kinds import Kind
from phoundry.hub.place import address, offline
from phoundry.hub.trouble import explained

_ATTEMPTS = 4
FIRST_WAIT = 0.5  # seconds; each further one is twice as long
_DIGEST = re.compile(r"[0-9a-fA-F]{7,64}")
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers that may be another one soon

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the hub lists it. `sha256` of large files, `blob_id` (git's SHA-1) of all.

    Both are hex digits and nothing else: they name files here.
    """

    path: str
    size: int  # bytes
    sha256: str | None = None
    blob_id: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of one commit: what is fetched by it never changes."""

    hub_id: str
    kind: Kind
    commit: str
    files: tuple[HubFile, ...]

    def find(self, path: str) -> HubFile | None:
        return next((file for file in self.files if file.path == path), None)


def list_files(hub_id: str, kind: Kind) -> Listing:
    """The newest commit of the branch `main` and its files.

    Raises:
        NotFound, Forbidden, Unavailable: see `trouble.explained`; or the hub's answer makes no
            sense. InvalidInput: HF_TOKEN cannot be a token.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    if offline():
        raise trouble.offline(hub_id, kind)
    trouble.check_token()
    api = HfApi(endpoint=address(), library_name="phoundry")
    with explained(hub_id, kind), _understood(hub_id, kind):
        info = patiently(lambda: api.repo_info(hub_id, repo_type=kind.name, timeout=15))
        commit = _digest(info.sha)
        entries = patiently(
            lambda: list(
                api.list_repo_tree(hub_id, recursive=True, revision=commit, repo_type=kind.name)
            )
        )
        files = [
            HubFile(
                each.path,
                int(each.size),
                _digest(each.lfs.sha256) if each.lfs else None,
                _digest(each.blob_id),
            )
            for each in entries
            if isinstance(each, RepoFile)
        ]
    return Listing(hub_id, kind, commit, tuple(files))


def _digest(value: object) -> str:
    """`value`, which may stand in the name of a file: hex digits and nothing else."""
    if not _DIGEST.fullmatch(str(value)):
        raise ValueError(value)
    return str(value)


@contextmanager
def _understood(hub_id: str, kind: Kind) -> Generator[None]:
    """Turn answers that no hub gives (a log-in page, a hash that is a path) into ours."""
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except HFValidationError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError):
        raise trouble.unreachable(hub_id, kind, "does not answer as a hub does") from None


def patiently(ask: Callable[[], T]) -> T:
    """`ask()`, repeated after passing trouble: a hub that is busy, a connection that broke."""
    from httpx import ConnectError, HTTPError, HTTPStatusError
    from huggingface_hub.errors import HfHubHTTPError

    wait = FIRST_WAIT
    for _ in range(_ATTEMPTS - 1):
        try:
            return ask()
        except ConnectError:
            raise  # nobody is there: waiting does not help
        except (HfHubHTTPError, HTTPStatusError) as error:
            if error.response.status_code not in _PASSING:
                raise
        except HTTPError:
            pass
        time.sleep(wait)
        wait *= 2
    return ask()
