"""The page of a served flow: files of this package, or those of a folder of the user's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from phoundry.serving.asgi import JSON_TYPE, encode
from phoundry.serving.flow.hosted import Hosted

FOLDER = Path(__file__).with_name("page")
FILE_LIMIT = 16 * 1024 * 1024  # bytes
_KINDS = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".json": b"application/json",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
    ".jpg": b"image/jpeg",
    ".ico": b"image/x-icon",
    ".txt": b"text/plain; charset=utf-8",
}
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
]


@dataclass(frozen=True, slots=True)
class Page:
    body: bytes
    kind: tuple[bytes, bytes]
    headers: list[tuple[bytes, bytes]]


class Pages:
    """What is answered besides the API. With `static`, that folder stands in place of the page."""

    def __init__(self, hosted: Hosted, static: Path | None = None) -> None:
        self._folder = (static or FOLDER).resolve()
        self._about = Page(encode(about(hosted)), JSON_TYPE, _HEADERS)

    def find(self, path: str) -> Page | None:
        """The page at `path`, or None. Nothing outside the folder is ever read."""
        if path == "/page.json":
            return self._about
        wanted = "index.html" if path == "/" else path.lstrip("/")
        if "\0" in wanted:
            return None
        file = (self._folder / wanted).resolve()
        hidden = any(part.startswith(".") for part in Path(wanted).parts)
        if hidden or not file.is_relative_to(self._folder) or not file.is_file():
            return None
        if file.stat().st_size > FILE_LIMIT:
            return None
        kind = _KINDS.get(file.suffix.lower(), b"application/octet-stream")
        return Page(file.read_bytes(), (b"content-type", kind), _HEADERS)


def about(hosted: Hosted) -> dict[str, object]:
    """What the page is made of: `{"name", "chat": roles or null, "inputs", "outputs"}`."""
    flow, roles = hosted.flow, hosted.roles
    return {
        "name": flow.root.name,
        "chat": roles and {"input": roles.input, "output": roles.output, "history": roles.history},
        "kind": flow.kind,
        "inputs": [
            {
                "name": name,
                "type": item.type,
                "default": item.default,
                "description": item.description,
            }
            for name, item in flow.inputs.items()
        ],
        "outputs": [name for name in flow.outputs if name not in hosted.hidden],
    }
