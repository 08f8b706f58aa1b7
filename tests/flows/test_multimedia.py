"""Images in and out of a flow, in both ways of writing them."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.flows import multimedia
from phoundry.flows.errors import InvalidImageInput
from phoundry.flows.multimedia import VISION, confined, encoder, load_images, make_image
from phoundry.flows.provided.multimedia import Image, Text
from phoundry.flows.tools.fetch import LARGEST, fetch

STYLES = ["basic", VISION]
PNG = b"\x89PNG\r\n\x1a\n"
ADDRESSES = {"public.test": "93.184.216.34", "inner.test": "10.0.0.7", "self.test": "127.0.0.1"}


@given(st.binary(max_size=40), st.sampled_from(STYLES))
def test_what_leaves_comes_back_the_same(data: bytes, style: str) -> None:
    image = Image(data, "image/png" if style == "basic" else None)
    written = json.loads(json.dumps({"deep": [image]}, default=encoder(style)))
    if style == VISION and not data:
        return  # an empty data address is no address
    (found,) = load_images(written, style)["deep"]
    assert isinstance(found, Image)
    assert bytes(found) == data
    assert found.mime_type == image.mime_type


def test_only_images_are_encoded() -> None:
    with pytest.raises(TypeError, match="set is not JSON"):
        json.dumps({1}, default=encoder("basic"))


def test_an_image_with_an_address_leaves_as_its_address() -> None:
    image = Image(b"x", "image/png", "http://public.test/a.png")
    assert encoder("basic")(image) == {"data:image/png;url": "http://public.test/a.png"}
    assert encoder(VISION)(image)["image_url"] == {"url": "http://public.test/a.png"}


def test_texts_of_messages_keep_their_annotations() -> None:
    plain, noted = load_images(
        [
            {"type": "text", "text": "hi"},
            {"type": "text", "text": {"value": "a", "annotations": [1]}},
        ],
        VISION,
    )
    assert (plain, noted) == ("hi", "a")
    assert isinstance(noted, Text)
    assert noted.serialize() == {"type": "text", "text": {"value": "a", "annotations": [1]}}
    assert plain.serialize() == {"type": "text", "text": "hi"}


VALUES = st.recursive(
    st.none() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(VALUES)
def test_other_values_stay_as_they_are(value: Any) -> None:
    assert load_images(value, "basic") == value


@pytest.mark.parametrize(
    ("value", "style"),
    [
        ("{}", "basic"),
        ({"data:image/png;path": "{}"}, "basic"),
        ({"data:image/png;path\n": "{}"}, "basic"),
        ({"type": "image_file", "image_file": {"path": "{}"}}, VISION),
    ],
)
def test_where_strangers_ask_only_images_of_the_flow_are_read(
    tmp_path: Path, value: Any, style: str
) -> None:
    folder = tmp_path / "flow"
    folder.mkdir()
    (folder / "in.png").write_bytes(PNG)
    (folder / "code.png").write_text("the flow's own code")
    (tmp_path / "out.png").write_bytes(PNG)
    (folder / "link.png").symlink_to(tmp_path / "out.png")

    def read(file: Path) -> Any:
        return make_image(json.loads(json.dumps(value).replace("{}", str(file))), style)

    with confined([folder]):
        assert read(folder / "in.png") == PNG
        for file in (folder / "code.png", tmp_path / "out.png", folder / "link.png"):
            with pytest.raises(InvalidImageInput):
                read(file)
    assert read(tmp_path / "out.png") == PNG


def test_devices_and_huge_files_are_no_images(tmp_path: Path) -> None:
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(multimedia.LARGEST + 1)
    for place in (huge, Path("/dev/zero")):
        with pytest.raises(InvalidImageInput):
            make_image({"data:image/png;path": str(place)}, "basic")


class Web:
    """Answers in place of the network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, httpx.Response] = {}
        self.asked: list[str] = []
        client = httpx.Client

        def looked_up(host: str, port: int, **_: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ADDRESSES.get(host, host), port))]

        def answer(request: httpx.Request) -> httpx.Response:
            host = request.headers["host"]
            assert request.url.host == ADDRESSES[host]
            assert request.extensions["sni_hostname"] == host
            asked = str(request.url.copy_with(host=host))
            self.asked.append(asked)
            return self.answers[asked]

        monkeypatch.setattr(socket, "getaddrinfo", looked_up)
        monkeypatch.setattr(
            httpx, "Client", lambda **o: client(transport=httpx.MockTransport(answer), **o)
        )


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    return Web(monkeypatch)


def test_an_image_of_the_web_keeps_its_address(web: Web) -> None:
    url = "http://public.test/a.png"
    web.answers[url] = httpx.Response(200, content=b"\x89PNG\r\n\x1a\n")
    found = make_image({"data:image/png;url": url}, "basic")
    assert (found.source_url, found.mime_type) == (url, "image/png")


@pytest.mark.parametrize(
    "url",
    [
        "http://self.test/a.png",
        "http://inner.test/a.png",
        "ftp://public.test/a.png",
        "file:///etc/passwd",
        "http://224.0.0.1/a.png",
        "http://[64:ff9b::7f00:1]/a.png",
        "http://[2002:7f00:1::]/a.png",
    ],
)
def test_only_public_addresses_are_asked(web: Web, url: str) -> None:
    with pytest.raises(InvalidImageInput, match="Failed to fetch image"):
        fetch(url)
    assert web.asked == []


def test_a_redirect_inwards_is_not_followed(web: Web) -> None:
    web.answers["http://public.test/a"] = httpx.Response(
        302, headers={"location": "http://inner.test/secret"}
    )
    with pytest.raises(InvalidImageInput, match=r"inner\.test"):
        fetch("http://public.test/a")
    assert web.asked == ["http://public.test/a"]


def test_redirects_end(web: Web) -> None:
    web.answers["http://public.test/a"] = httpx.Response(302, headers={"location": "/a"})
    with pytest.raises(InvalidImageInput, match="more than 3 redirects"):
        fetch("http://public.test/a")


def test_what_is_too_large_or_not_there_is_said(web: Web) -> None:
    web.answers["http://public.test/big"] = httpx.Response(200, content=bytes(LARGEST + 1))
    web.answers["http://public.test/gone"] = httpx.Response(404)
    with pytest.raises(InvalidImageInput, match="more than 20,971,520 bytes"):
        fetch("http://public.test/big")
    with pytest.raises(InvalidImageInput, match="404"):
        fetch("http://public.test/gone")
