"""One file over an unsteady line: asked for from where it broke, so often and no oftener."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

from phoundry.errors import Unavailable
from phoundry.hub.listing import HubFile, Listing
from phoundry.hub.place import address
from phoundry.hub.trouble import size

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 6  # in a row without a byte
FIRST_WAIT = 0.5  # seconds; each further one is twice as long
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class Lied(Exception):
    """The hub has another number of bytes than it lists."""


def receive(
    listing: Listing,
    file: HubFile,
    part: Path,
    say: Callable[[str], None],
    count: Callable[[int], None],
) -> None:
    """Append to `part` what it lacks of `file`; `count` is told how many bytes it has.

    A broken or silent connection and a busy hub are tried again, from where it broke, until
    `ATTEMPTS` in a row have brought nothing.

    Raises:
        Lied: more bytes than are listed, or fewer. Unavailable: the attempts are used up.
        OSError: of the disk. httpx.HTTPError: answers that will not change, such as 401.
    """
    import httpx

    part.touch()
    vain, wait = 0, FIRST_WAIT
    with _client() as client:
        while (before := part.stat().st_size) != file.size:
            try:
                _stream(client, _url(listing, file), file, part, count)
                reason = "the connection ended early"
            except httpx.HTTPStatusError as error:
                reason = f"it answered {error.response.status_code}"
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
            have = part.stat().st_size
            if have == file.size:
                return
            vain, wait = (0, FIRST_WAIT) if have > before else (vain + 1, wait * 2)
            if vain >= ATTEMPTS:
                raise Unavailable(
                    f"The download of {file.path} of {listing.hub_id} broke off {vain} times: "
                    f"{reason}.",
                    remedy=f"{size(have)} of {size(file.size)} are kept. Try again: it goes on "
                    "from there.",
                )
            say(f"{file.path}: {reason} at {size(have)} of {size(file.size)}; going on.")
            time.sleep(wait)


def _stream(
    client: httpx.Client, url: str, file: HubFile, part: Path, count: Callable[[int], None]
) -> None:
    """One request. What has come of it is in `part`, whatever ends it."""
    from huggingface_hub.utils import hf_raise_for_status

    have = part.stat().st_size
    headers = {"Range": f"bytes={have}-"} if have else {}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == 416:
            raise Lied(f"the hub lists {file.path} with {file.size:,} bytes and has not so many")
        if response.status_code in _PASSING:
            response.raise_for_status()
        hf_raise_for_status(response)
        with part.open("r+b") as target:
            _write(response, file, target, _begin(response, have), count)


def _begin(response: httpx.Response, have: int) -> int:
    """Where the body belongs: where we asked for it, or at 0 where ranges are not known."""
    if response.status_code != 206:
        return 0
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != have:
        raise Lied(f"asked for bytes from {have:,} on, the hub sent others")
    return have


def _write(
    response: httpx.Response,
    file: HubFile,
    target: IO[bytes],
    begin: int,
    count: Callable[[int], None],
) -> None:
    target.seek(begin)
    target.truncate()
    for chunk in response.iter_bytes():
        if target.tell() + len(chunk) > file.size:
            raise Lied(f"the hub lists {file.path} with {file.size:,} bytes and sends more")
        target.write(chunk)
        count(target.tell())


def _client() -> httpx.Client:
    """Redirects to another host leave the token behind (httpx sees to it)."""
    import httpx
    from huggingface_hub import constants
    from huggingface_hub.utils import (
        build_hf_headers,  # pyright: ignore[reportUnknownVariableType]
    )

    headers = build_hf_headers(library_name="phoundry") | {"Accept-Encoding": "identity"}
    patience = httpx.Timeout(float(constants.HF_HUB_DOWNLOAD_TIMEOUT))
    return httpx.Client(headers=headers, timeout=patience, follow_redirects=True)


def _url(listing: Listing, file: HubFile) -> str:
    place = f"{listing.kind.prefix}{listing.hub_id}/resolve/{listing.commit}/{quote(file.path)}"
    return f"{address()}/{place}"
