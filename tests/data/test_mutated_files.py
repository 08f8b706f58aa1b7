"""A thousand files that something has happened to: no crash, and no row that is lost in silence."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import pytest

from phoundry.data import RefusedRow, iter_messages, to_line
from phoundry.errors import InvalidInput
from tests.data.written import CHAT_FORMATS, CONTAINERS, as_bytes, as_format, packed, read

ROWS = 12
FORMATS = (*CHAT_FORMATS, "preference")
FILES_PER_SET = 13
SETS = [
    (format, container, compression)
    for format in FORMATS
    for container in CONTAINERS
    for compression in ("", "gz", "zst")
    if not (container == "parquet" and compression)
]
ENDINGS = ("jsonl", "json", "csv", "tsv", "parquet", "txt", "jsonl.gz", "csv.zst", "")


@cache
def whole(format: str, container: str, compression: str) -> bytes:
    rows = [as_format(format, f'Fråga {i}, "x"\n?', f"Svar {i};\té😀") for i in range(ROWS)]
    return packed(compression, as_bytes(container, rows))


def mutate(chance: random.Random, data: bytes) -> bytes:
    """One to three accidents."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(found) + 1)
        kind = chance.randrange(5)
        if kind == 0:
            del found[place:]
        elif kind == 1 and place < len(found):
            found[place] ^= 1 << chance.randrange(8)
        elif kind == 2:
            found[place:place] = chance.randbytes(chance.randint(1, 9))
        elif kind == 3:
            found[place:place] = chance.choice(
                [b'"', b"\n", b"\r\n", b"{", b"[", b"]", b"\0", b","]
            )
        else:
            del found[place : place + chance.randint(1, 200)]
    return bytes(found)


def test_there_are_a_thousand() -> None:
    assert len(SETS) * FILES_PER_SET >= 1000


@pytest.mark.parametrize(("format", "container", "compression"), SETS)
def test_mutated_files_are_read_or_refused_row_by_row(
    tmp_path: Path, format: str, container: str, compression: str
) -> None:
    for number in range(FILES_PER_SET):
        chance = random.Random(f"{format} {container} {compression} {number}")
        data = mutate(chance, whole(format, container, compression))
        path = tmp_path / f"{number}.{chance.choice([container, *ENDINGS])}"
        path.write_bytes(data)
        try:
            reader, accepted, refused = read(path)
        except InvalidInput as error:
            assert error.message
            continue
        assert all(row.line >= 1 and row.reason and row.kind for row in refused)
        if reader.container == "jsonl" and not compression:
            filled = sum(bool(line.strip()) for line in data.split(b"\n"))
            assert len(accepted) + len(refused) == filled
        if reader.type == "chat":
            again = tmp_path / "again.jsonl"
            again.write_bytes(b"".join(map(to_line, accepted)))
            assert list(iter_messages(again)) == accepted


@pytest.mark.parametrize("container", ["jsonl", "json", "csv"])
@pytest.mark.parametrize("compression", ["gz", "zst"])
def test_a_cut_stream_is_one_refused_entry(
    tmp_path: Path, container: str, compression: str
) -> None:
    texts = [f"{random.Random(i).randbytes(3000).hex()}" for i in range(60)]
    rows = [as_format("question-answer", text, text) for text in texts]
    data = packed(compression, as_bytes(container, rows))
    for share in (0.3, 0.6, 0.999):
        path = tmp_path / f"cut.{container}.{compression}"
        path.write_bytes(data[: int(len(data) * share)])
        _, accepted, refused = read(path)
        assert [row["messages"][0]["content"] for row in accepted] == texts[: len(accepted)]  # type: ignore[typeddict-item]
        assert len(accepted) < 60
        (last,) = refused
        assert isinstance(last, RefusedRow)
        assert last.kind == "file cut"
        assert last.reason.startswith("the file ends in the middle")


def test_a_document_that_ends_in_the_middle(tmp_path: Path) -> None:
    data = whole("sharegpt", "json", "")
    path = tmp_path / "cut.json"
    for end in range(1, len(data), 11):
        path.write_bytes(data[:end])
        _, accepted, refused = read(path)
        assert [row.kind for row in refused] == ["file cut"]
        assert len(accepted) == data[:end].count(b"\n }")
