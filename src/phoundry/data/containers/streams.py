"""Open a file for its bytes, whatever it is packed in: known by its first bytes, not its name."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias, cast

from phoundry.errors import InvalidInput, MissingDependency, NotFound

Compression: TypeAlias = Literal["gzip", "zstd"]

BOM = b"\xef\xbb\xbf"
_COMPRESSIONS: dict[bytes, Compression] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_OTHER = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"7z\xbc\xaf": "7z",
    b"GGUF": "GGUF",
    b"SQLite format": "SQLite",
    b"ARROW1": "Arrow",
}
_BUFFER = 64 * 1024


def compression_of(start: bytes) -> Compression | None:
    return next((name for magic, name in _COMPRESSIONS.items() if start.startswith(magic)), None)


def open_stream(path: Path, name: str, *, compressed: bool = True) -> BinaryIO:
    """The bytes of the file; with `compressed`, what gzip or zstd holds.

    Raises:
        NotFound: no such file.
        InvalidInput: a folder, a file that may not be read, or another kind than text.
        MissingDependency: zstd, without the package for it.
    """
    file = _open(path)
    try:
        start = file.peek(16)[:16]
        packed = compression_of(start)
        if packed and not compressed:
            raise not_text(name, packed)
        refuse_other(start, name)
    except BaseException:
        file.close()
        raise
    if packed is None:
        return file
    file.close()
    return _unpacked(path, packed)


def _unpacked(path: Path, packed: Compression) -> BinaryIO:
    """A stream that fails where the packed one breaks off, instead of ending as if it were whole.

    That is why zstd goes through Arrow: the reader of `zstandard` takes a cut file for a short one.
    """
    if packed == "gzip":
        return io.BufferedReader(cast("Any", gzip.open(path)), _BUFFER)
    try:
        import pyarrow as arrow
    except ModuleNotFoundError:
        raise MissingDependency.extra("pyarrow", "data", "Reading zstd") from None  # noqa: S610
    untyped = cast("Any", arrow)
    stream = untyped.CompressedInputStream(untyped.OSFile(str(path)), "zstd")
    return io.BufferedReader(stream, _BUFFER)


def refuse_other(start: bytes, name: str) -> None:
    """Raise InvalidInput where the first bytes are known to be something else than text."""
    for magic, kind in _OTHER.items():
        if start.startswith(magic):
            raise not_text(name, kind)


def not_text(name: str, kind: str) -> InvalidInput:
    remedy = "Save it as UTF-8 JSONL: one conversation a line."
    if kind == "UTF-16":
        remedy = "Convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW"
    elif kind in ("zip", "bzip2", "xz", "7z"):
        remedy = "Unpack it first. Files packed with gzip and zstd are read as they are."
    return InvalidInput(f"{name} is {kind}, and UTF-8 text is needed.", remedy=remedy)


def skip_bom(file: BinaryIO) -> bool:
    """Take a byte order mark off; whether there was one."""
    found = had_bom(file)
    if found:
        file.read(len(BOM))
    return found


def had_bom(file: BinaryIO) -> bool:
    """Whether a byte order mark comes next."""
    return cast("io.BufferedReader", file).peek(len(BOM))[: len(BOM)] == BOM


def _open(path: Path) -> io.BufferedReader[Any]:
    try:
        return cast("Any", path.open("rb", buffering=_BUFFER))
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise InvalidInput(f"{path} is a folder, not a JSONL file.") from None
    except PermissionError:
        raise InvalidInput(
            f"{path} may not be read by you.", remedy=f"Allow it: chmod u+r {path}"
        ) from None
