"""An image from the web: of public addresses only, so that a flow's input can't be used to look
around in the network of the machine that runs it."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from phoundry.flows.errors import InvalidImageInput

if TYPE_CHECKING:
    import httpx

LARGEST = 20 * 2**20  # bytes
SECONDS = 30.0
REDIRECTS = 3
OK = 200
TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")  # an IPv4 address is inside


def fetch(url: str) -> bytes:
    """What is behind `url`; every redirect is checked as the first address was.

    Raises:
        InvalidImageInput: not http(s), not a public address, not reached, refused, or too large.
    """
    import httpx

    with httpx.Client(timeout=SECONDS, follow_redirects=False) as client:
        for _ in range(REDIRECTS + 1):
            address = check_public(url)
            try:
                with _asked(client, url, address) as response:
                    if response.is_redirect:
                        url = urljoin(url, response.headers.get("location", ""))
                        continue
                    return _body(url, response)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _failed(url, f"{type(error).__name__}: {error}") from None
    raise _failed(url, f"more than {REDIRECTS} redirects")


def check_public(url: str) -> str:
    """An address of the host of `url`, which is http(s) and has public addresses only.

    Raises:
        InvalidImageInput: it is something else.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (ValueError, KeyError):
        raise _failed(url, "it is no http or https address") from None
    except OSError as error:
        raise _failed(url, str(error)) from None
    addresses = [str(item[4][0]) for item in found]
    if not addresses or not all(_is_public(ipaddress.ip_address(item)) for item in addresses):
        raise _failed(url, "it is no public address")
    return addresses[0]


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in TRANSLATED:
            inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inside is not None and not _is_public(inside):
            return False
    return address.is_global and not address.is_multicast


def _asked(client: httpx.Client, url: str, address: str) -> AbstractContextManager[httpx.Response]:
    """The answer of `address`: asked by its name, the host could be another one by now."""
    import httpx

    wanted = httpx.URL(url)
    if client._mounts:  # pyright: ignore[reportPrivateUsage] - a proxy looks names up itself
        return client.stream("GET", url)
    return client.stream(
        "GET",
        wanted.copy_with(host=address),
        headers={"Host": wanted.netloc.decode("ascii")},
        extensions={"sni_hostname": wanted.host},
    )


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
