"""Images among a prompty's inputs: `data:image/png;path: cat.png` and its like become images."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

from phoundry.flows.errors import InvalidImageInput
from phoundry.flows.prompty.errors import PromptyFormatError

_WRITTEN = re.compile(
    r"^data:image/(?P<kind>[^;]+);(?P<how>path|base64|url)\s*[:,]\s*(?P<what>.*)$", re.S
)


def as_image(value: Any, folder: Path) -> Any:
    """The image that a text names; anything else as it is.

    Raises:
        PromptyFormatError: the file is not there or refused, or the text is not base64.
    """
    from phoundry.flows.multimedia import read_image
    from phoundry.flows.provided.multimedia import Image

    found = _WRITTEN.match(value) if isinstance(value, str) else None
    if found is None:
        return value
    kind, what = f"image/{found['kind']}", found["what"].strip()
    if found["how"] == "url":
        return Image(what.encode(), kind, what)  # the model's server fetches it, not this process
    try:
        if found["how"] == "path":
            return Image(read_image(folder / what), kind)
        return Image(base64.b64decode(what, validate=True), kind)
    except OSError as error:
        raise PromptyFormatError(f"The image {what} can't be read: {error}.") from None
    except InvalidImageInput as error:
        raise PromptyFormatError(error.message, remedy=error.remedy) from None
    except ValueError as error:
        raise PromptyFormatError(f"An image is not base64: {error}.") from None
