"""How a source is written: found by its bytes, read with its lines, refused with a reason."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phoundry.data import SourceFile
from phoundry.data.containers import json_document, records
from phoundry.data.containers.inspect import look_into, read_records
from phoundry.data.row import BadRow
from phoundry.errors import InvalidInput, MissingDependency
from tests.data.chats import steady
from tests.data.written import as_bytes, packed

ROW = {"q": "Who?", "a": "I."}
LINE = json.dumps(ROW)


def look(tmp_path: Path, name: str, content: str | bytes) -> Any:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return look_into(SourceFile(path, name))


def told(opened: Any) -> list[tuple[int, Any]]:
    """Records with the reason of those that are bad."""
    found = read_records(opened)
    return [(n, value.reason if isinstance(value, BadRow) else value) for n, value in found]


@pytest.mark.parametrize(
    ("name", "content", "container"),
    [
        ("x.jsonl", f"{LINE}\n{LINE}\n", "jsonl"),
        ("x.json", f"{LINE}\n{LINE}\n", "jsonl"),
        ("x.csv", f"{LINE}\n{LINE}\n", "jsonl"),
        ("x", f"\n\n{LINE}\n", "jsonl"),
        ("x.jsonl", f"[{LINE}]", "json"),
        ("x.jsonl", f"[\n{LINE},\n{LINE}\n]\n", "json"),
        ("x.jsonl", json.dumps(ROW, indent=2), "json"),
        ("x.json", LINE, "json"),
        ("x.txt", f"\ufeff[\r\n  {LINE}\r\n]", "json"),
        ("x.jsonl", "{\n{]\n", "jsonl"),
        ("x.json", "q,a\nWho?,I.\n", "json"),
        ("x.csv", "q,a\nWho?,I.\n", "csv"),
        ("x.txt", "q,a\nWho?,I.\n", "csv"),
        ("x.csv", "q\ta\nWho?\tI.\n", "tsv"),
        ("x.tsv", "q\nWho?\n", "tsv"),
        ("x.csv", "[q],a\nWho?,I.\n", "csv"),
        ("x.jsonl", "", "jsonl"),
        ("x.json", "", "json"),
    ],
)
def test_the_container_is_found_by_what_is_inside(
    tmp_path: Path, name: str, content: str, container: str
) -> None:
    assert look(tmp_path, name, content).container == container


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("{}".encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04...", "zip"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"GGUF\x03", "GGUF"),
    ],
)
def test_what_holds_no_text_is_named(tmp_path: Path, content: bytes, kind: str) -> None:
    for compression in ("", "gz", "zst"):
        with pytest.raises(InvalidInput, match=rf"^x\.jsonl is {kind}, and UTF-8 text is needed"):
            look(tmp_path, "x.jsonl", packed(compression, content))


def test_parquet_that_is_cut_or_packed_again_is_refused(tmp_path: Path) -> None:
    data = as_bytes("parquet", [ROW])
    with pytest.raises(InvalidInput, match=r"^x\.parquet is a Parquet file that is cut or damaged"):
        look(tmp_path, "x.parquet", data[:-9])
    with pytest.raises(InvalidInput, match=r"^x\.parquet\.gz is Parquet inside gzip"):
        look(tmp_path, "x.parquet.gz", gzip.compress(data))


@pytest.mark.parametrize("compression", ["zst", "parquet"])
def test_without_the_package_its_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str
) -> None:
    data = as_bytes("parquet", [ROW]) if compression == "parquet" else packed("zst", b"{}")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingDependency, match=r"phoundry\[data\]"):
        look(tmp_path, "x", data)


def test_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    for name, content in {
        "x.jsonl": f"{LINE}\r\n\r\n{LINE}\r\n",
        "x.json": f"[\r\n{LINE},\r\n{LINE}]\r\n",
        "x.csv": "q,a\r\nWho?,I.\r\n\r\nWho?,I.\r\n",
    }.items():
        opened = look(tmp_path, name, f"\ufeff{content}")
        assert [value for _, value in told(opened)] == [ROW, ROW]
        assert opened.notices == [f"{name}: a byte order mark at the start was taken off."]


def test_lines_are_those_of_the_source(tmp_path: Path) -> None:
    csv = 'q,a\n"Who\nis\nit?",I.\n\nWho?,I.\n'
    assert [line for line, _ in told(look(tmp_path, "x.csv", csv))] == [2, 6]
    document = json.dumps({"_meta": {"n": 2}, "rows": [ROW, ROW]}, indent=1)
    assert [line for line, _ in told(look(tmp_path, "x.json", document))] == [6, 10]
    numbers = [n for n, _ in told(look(tmp_path, "x.parquet", as_bytes("parquet", [ROW] * 300)))]
    assert numbers == list(range(1, 301))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"data": [ROW, ROW]}, [ROW, ROW]),
        ({"version": 1, "rows": [ROW], "note": [1, 2], "more": [ROW]}, [ROW, ROW]),
        ({"messages": [{"role": "user"}], "id": 1}, [{"messages": [{"role": "user"}], "id": 1}]),
        ([ROW, 3, None], [ROW, 3, None]),
        ([], []),
        ({}, [{}]),
        ("text", ["text"]),
    ],
)
def test_rows_of_one_document(tmp_path: Path, content: Any, expected: list[Any]) -> None:
    for text in (json.dumps(content), json.dumps(content, indent=2)):
        path = tmp_path / "x.json"
        path.write_text(text)
        with path.open("rb") as file:
            assert [value for _, value in json_document.document_rows(file)] == expected


@pytest.mark.parametrize(
    ("content", "rows", "reason"),
    [
        (f"[{LINE} {LINE}]", 1, "not JSON: ',' expected (line 1)"),
        (f"[{LINE},\n]", 1, "not JSON: a comma before the end of the list (line 2)"),
        (
            f"[{LINE},\n{{'q': 1}}]",
            1,
            "not JSON: Expecting property name enclosed in double quotes",
        ),
        (f"[{LINE},\nNaN]", 1, "not JSON: NaN is no JSON value"),
        (f"[{LINE}, {'[' * 100_000}", 1, "not JSON: nested too deeply (line 1)"),
        (f'{{"rows": [{LINE}], 3: 4}}', 1, "not JSON: a key that is not text"),
        (f"[{LINE}]\ntrailing", 1, "not JSON: Expecting value (line 2)"),
        (f"[{LINE}, {'1' * 5000}]", 1, "not JSON: Exceeds the limit"),
        (f"[{LINE},\n", 1, "the file ends in the middle"),
    ],
)
def test_where_a_document_breaks_one_entry_says_so(
    tmp_path: Path, content: str, rows: int, reason: str
) -> None:
    found = told(look(tmp_path, "x.json", content))
    assert [value for _, value in found[:rows]] == [ROW] * rows
    ((_, last),) = found[rows:]
    assert last.startswith(reason)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)  # fmt: skip


@steady
@given(st.lists(values, max_size=6), st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
@example([0.0, 1e-7, -2.5e300], 1, None, False)
def test_a_window_of_any_size_reads_the_same(
    tmp_path: Path, rows: list[Any], chunk: int, indent: int | None, ascii_only: bool
) -> None:
    path = tmp_path / "x.json"
    path.write_text(
        json.dumps(rows, indent=indent, ensure_ascii=ascii_only), errors="surrogatepass"
    )
    with pytest.MonkeyPatch.context() as patch, path.open("rb") as file:
        patch.setattr(json_document, "_CHUNK", chunk)
        assert [value for _, value in json_document.document_rows(file)] == rows


def test_a_row_of_ten_megabytes_is_read_and_one_that_is_too_long_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = {"q": "x" * 10_000_000, "a": "y"}
    for container in ("jsonl", "json", "csv"):
        opened = look(tmp_path, f"x.{container}", as_bytes(container, [ROW, long, ROW]))
        assert [value for _, value in told(opened)] == [ROW, long, ROW]
        monkeypatch.setattr(records, "MAX_ROW_BYTES", 3_000_000)
        found = [value for _, value in told(opened)]
        assert found[:2] == [ROW, "longer than 2 MiB"]
        assert found[2:] == ([] if container == "json" else [ROW])
        monkeypatch.undo()


def test_a_cell_of_many_lines_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = 'q,a\n"' + "x\n" * 5000 + '",I.\nWho?,I.\n'
    monkeypatch.setattr(records, "MAX_ROW_BYTES", 5000)
    found = [value for _, value in told(look(tmp_path, "x.csv", content))]
    assert found[0] == "longer than 0 MiB"
    assert not any(isinstance(value, dict) and len(str(value)) > 5000 for value in found)


def test_what_is_wrong_with_rows_of_a_table(tmp_path: Path) -> None:
    content = b'q,a\nWho?,I.,and,more\n"x"y,z\n,\nWho?\nWho?,I.,,\n"open,I.\nWho?,I.\n'
    assert told(look(tmp_path, "x.csv", content)) == [
        (2, "4 cells, and the header has 2"),
        (3, "quotes that don't match: ',' expected after '\"'"),
        (4, "every cell is empty"),
        (5, {"q": "Who?"}),
        (6, ROW),
        (7, "the file ends in the middle: a quote that opens here is never closed (lines 7 to 8)"),
    ]


def test_a_header_that_is_no_header(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^x\.csv: the header names the column 'q' twice"):
        told(look(tmp_path, "x.csv", "q,a,q\n1,2,3\n"))
    ((line, reason),) = told(look(tmp_path, "x.csv", 'q,"a"b\nWho?,I.\n'))
    assert (line, reason) == (1, "the header: quotes that don't match: ',' expected after '\"'")


def test_other_marks_between_cells_are_found_and_said(tmp_path: Path) -> None:
    opened = look(tmp_path, "x.csv", 'q;a\n"Who; he?";I, too.\n')
    assert told(opened) == [(2, {"q": "Who; he?", "a": "I, too."})]
    assert opened.notices == ["x.csv: its cells are parted by semicolons."]


def test_damaged_packing_is_told_and_what_came_before_it_is_kept(tmp_path: Path) -> None:
    texts = [random.Random(i).randbytes(2000).hex() for i in range(100)]
    rows = [{"q": text, "a": "y"} for text in texts]
    for compression in ("gz", "zst"):
        data = bytearray(packed(compression, as_bytes("jsonl", rows)))
        data[len(data) // 2 : len(data) // 2 + 8] = b"\xff" * 8
        found = told(look(tmp_path, f"x.jsonl.{compression}", bytes(data)))
        assert [value for _, value in found[:20]] == rows[:20]
        assert found[-1][1].startswith("the file is damaged (")


def test_several_packed_pieces_are_one_file(tmp_path: Path) -> None:
    for compression in ("gz", "zst"):
        data = packed(compression, f"{LINE}\n".encode()) * 3
        opened = look(tmp_path, f"x.jsonl.{compression}", data)
        assert [value for _, value in told(opened)] == [ROW] * 3
