"""Images as flows write them, into `Image` objects and back.

Two ways of writing: `basic`, `{"data:image/png;path": "logo.png"}` (or `;base64`, or `;url`), and
`openai-vision`, `{"type": "image_file", "image_file": {"path": …}}` or `{"type": "image_url",
"image_url": {"url": …}}`. An input of type image may also be a plain string. Paths are relative to
the working directory, which is the flow's folder while it runs.
"""

from __future__ import annotations

import base64
import binascii
import re
import stat
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from phoundry.flows.document import is_list, is_mapping
from phoundry.flows.errors import InvalidImageInput

if TYPE_CHECKING:
    from phoundry.flows.provided.multimedia import Image, Text

VISION = "openai-vision"
LARGEST = 100 * 2**20  # bytes of one image file
KEY = re.compile(r"^data:image/(?P<kind>.*);(?P<how>path|base64|url)$")
_DATA_URI = re.compile(r"^data:image/(?P<kind>[^;,]*);base64$")
_BASE64 = re.compile(r"^(?:[A-Za-z0-9+/]{2})*(?:==|[A-Za-z0-9+/]=)?$")


def is_image(value: Any, style: str) -> bool:
    """Whether the mapping `value` describes an image in the message format `style`."""
    if not is_mapping(value):
        return False
    if style != VISION:
        return len(value) == 1 and KEY.match(str(next(iter(value)))) is not None
    if len(value) != 2:  # `type` and what it names
        return False
    return _part(value, "image_url", "url") is not None or (
        _part(value, "image_file", "path") is not None
    )


def make_image(value: Any, style: str) -> Image:
    """The image that an input of type image, or a literal for an `Image` parameter, stands for.

    Raises:
        InvalidImageInput: it is written in no known way, or its address is refused.
        OSError: a path that can't be read.
        ValueError: base64 that is none after all.
    """
    from phoundry.flows.provided.multimedia import PFBytes

    if isinstance(value, PFBytes):
        return value  # pyright: ignore[reportReturnType] - whoever makes one means an image
    if is_mapping(value):
        if not is_image(value, style):
            raise InvalidImageInput(
                "Invalid image input format. The image input should be a dictionary like: "
                "{data:image/<image_type>;[path|base64|url]: <image_data>}.",
                remedy=f"With `message_format: {VISION}` it is written as in OpenAI's messages."
                if style == VISION
                else None,
            )
        return _of_mapping(value, style)
    if not isinstance(value, str):
        raise InvalidImageInput(
            f"Unsupported image input type: {type(value)}. "
            "The image inputs should be a string or a dictionary."
        )
    if not value:
        raise InvalidImageInput("The image input should not be empty.")
    return _of_text(value)


def load_images(value: Any, style: str) -> Any:
    """`value` with the images in it made, at any depth of lists and mappings.

    Raises:
        InvalidImageInput, OSError, ValueError: as `make_image`.
    """
    if is_list(value):
        return [load_images(item, style) for item in value]
    if not is_mapping(value):
        return value
    if is_image(value, style):
        return _of_mapping(value, style)
    if style == VISION and _is_text(value):
        return _text(value)
    return {key: load_images(item, style) for key, item in value.items()}


def encoder(style: str) -> Callable[[Any], Any]:
    """For `json.dumps(default=…)`: an image as a mapping with its data, or with its address.

    Raises (when called):
        TypeError: the value is no image.
    """

    def encode(value: Any) -> Any:
        from phoundry.flows.provided.multimedia import PFBytes

        if not isinstance(value, PFBytes):
            raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
        url = value.source_url
        if style == VISION:
            address = url or value.to_base64(with_type=True)
            return {"type": "image_url", "image_url": {"url": address}}
        kind = value.mime_type
        return {f"data:{kind};url": url} if url else {f"data:{kind};base64": value.to_base64()}

    return encode


@contextmanager
def confined(places: Sequence[Path]) -> Generator[None]:
    """For the length of the block, in all of this process, images are read from files in `places`
    only, and only those that their first bytes show to be images.

    For those who take inputs from strangers: a path names a file of this machine.
    """
    before = _Files.places
    _Files.places = tuple(place.resolve() for place in places)
    try:
        yield
    finally:
        _Files.places = before


class _Files:
    """Where images may be read from; None: anywhere."""

    places: tuple[Path, ...] | None = None


def read_image(file: Path) -> bytes:
    """The bytes of the image in `file`.

    Raises:
        InvalidImageInput: no regular file, one that is too large, or one that `confined` refuses.
        OSError: it can't be read.
    """
    from phoundry.flows.provided.multimedia import ANY_IMAGE, guess

    found, places = file.resolve(), _Files.places
    if places is not None and not any(found.is_relative_to(place) for place in places):
        raise InvalidImageInput(
            f"The image {file} is not in the flow's folder.",
            remedy="Send the image itself as base64, or its address.",
        )
    status = found.stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise InvalidImageInput(f"The image {file} is no regular file.")
    if status.st_size > LARGEST:
        raise InvalidImageInput(
            f"The image {file} has {status.st_size:,} bytes; the limit is {LARGEST:,}."
        )
    content = found.read_bytes()
    if places is not None and guess(content) == ANY_IMAGE:
        raise InvalidImageInput(f"The file {file} is no image.")
    return content


def _part(value: dict[str, Any], kind: str, key: str) -> Any:
    """What the `kind` part of an OpenAI message holds under `key`; None for anything else."""
    inner: Any = value.get(kind)
    return inner.get(key) if value.get("type") == kind and is_mapping(inner) else None


def _of_mapping(value: dict[str, Any], style: str) -> Image:
    if style == VISION:
        if (path := _part(value, "image_file", "path")) is not None:
            return _of_file(path, None)
        url = str(_part(value, "image_url", "url"))
        if _is_base64(url):
            return _of_base64(url, None)
        if _is_address(url):
            return _of_address(url, None)
        raise InvalidImageInput(
            f"Invalid image url: {url}. Should be a valid url or base64 string."
        )
    key, content = next(iter(value.items()))
    match = KEY.match(key)
    kind, how = f"image/{match['kind']}" if match else None, match["how"] if match else ""
    if how == "path":
        return _of_file(content, kind)
    if how == "url":
        return _of_address(str(content), kind)
    if not _is_base64(str(content)):
        raise InvalidImageInput(f"Invalid base64 image: {content}.")
    return _of_base64(str(content), kind)


def _of_text(value: str) -> Image:
    if _is_base64(value):
        return _of_base64(value, None)
    return _of_address(value, None) if _is_address(value) else _of_file(value, None)


def _is_base64(text: str) -> bool:
    head, comma, data = text.partition(",")
    if not comma:
        return _BASE64.match(text) is not None
    return _DATA_URI.match(head) is not None and _BASE64.match(data) is not None


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)


def _of_base64(text: str, kind: str | None) -> Image:
    from phoundry.flows.provided.multimedia import Image

    try:
        return Image(base64.b64decode(text.rpartition(",")[2]), kind)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _of_file(path: Any, kind: str | None) -> Image:
    from phoundry.flows.provided.multimedia import Image

    return Image(read_image(Path(str(path))), kind)


def _of_address(url: str, kind: str | None) -> Image:
    from phoundry.flows.provided.multimedia import Image
    from phoundry.flows.tools.fetch import fetch

    return Image(fetch(url), kind, url)


def _is_text(value: dict[str, Any]) -> bool:
    text: Any = value.get("text")
    if is_mapping(text):
        text = text.get("value")
    return len(value) == 2 and value.get("type") == "text" and isinstance(text, str)


def _text(value: dict[str, Any]) -> Text:
    from phoundry.flows.provided.multimedia import Text

    return Text.deserialize(value)
