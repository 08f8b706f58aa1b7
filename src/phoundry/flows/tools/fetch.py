"""An image from the web: of public addresses only, so that a flow's input can't be used to look
around in the network of the machine that runs it."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from phoundry.flows.errors import InvalidImageInput

if TYPE_CHECKING:
    import httpx

LARGEST = 20 * 2**20  # bytes
SECONDS = 30.0
REDIRECTS = 3
OK = 200


def fetch(url: str) -> bytes:
    """What is behind `url`; every redirect is checked as the first address was.

    Raises:
        InvalidImageInput: not http(s), not a public address, not reached, refused, or too large.
    """
    import httpx

    with httpx.Client(timeout=SECONDS, follow_redirects=False) as client:
        for _ in range(REDIRECTS + 1):
            check_public(url)
            try:
                with client.stream("GET", url) as response:
                    if response.is_redirect:
                        url = urljoin(url, response.headers.get("location", ""))
                        continue
                    return _body(url, response)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _failed(url, f"{type(error).__name__}: {error}") from None
    raise _failed(url, f"more than {REDIRECTS} redirects")


def check_public(url: str) -> None:
    """Raise InvalidImageInput unless `url` is http(s) and its host has public addresses only."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (ValueError, KeyError):
        raise _failed(url, "it is no http or https address") from None
    except OSError as error:
        raise _failed(url, str(error)) from None
    if not all(ipaddress.ip_address(item[4][0]).is_global for item in found):
        raise _failed(url, "it is no public address")


def _body(url: str, response: httpx.Response) -> bytes:
    if response.status_code != OK:
        raise _failed(url, f"the server answered {response.status_code}")
    data = bytearray()
    for piece in response.iter_bytes():
        data += piece
        if len(data) > LARGEST:
            raise _failed(url, f"it has more than {LARGEST:,} bytes")
    return bytes(data)


def _failed(url: str, reason: str) -> InvalidImageInput:
    return InvalidImageInput(
        f"Failed to fetch image from URL: {url}. {reason}.",
        remedy="Save the image and give its path, or its base64.",
    )
