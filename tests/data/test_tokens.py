"""The token cache: what is read from it is what the renderer gives, whatever happened to it."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phoundry.data import ChatTokenizer, Row, render_rows, token_files, tokens
from phoundry.data.tokens import TokenSet, prepare
from phoundry.errors import InsufficientResources, InvalidInput, NotFound, WorkerFailed
from phoundry.specs.finetune import Truncation
from tests.data.chats import chat
from tests.data.conftest import WriteRows

LIMIT = 60
WORDS = [
    *("permit", "building", "weeks", "Paris", "é", "中"),
    *("12", "<|im_end|>", "ten", "long", "who", "founded"),
]


@pytest.fixture
def rows() -> list[Row]:
    """Conversations of which some are too long, and some even with their first exchange."""
    chooser = random.Random(5)

    def text(most: int) -> str:
        return " ".join(chooser.choices(WORDS, k=chooser.randint(1, most)))

    made = [
        Row(messages=chat(*(text(9) for _ in range(2 * chooser.randint(1, 4))))) for _ in "x" * 60
    ]
    return [*made, Row(messages=chat(text(3) * 40, "no"))]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "BATCH_BYTES", 512)


@pytest.fixture
def prepared(chatml_folder: Path, tmp_path: Path) -> Callable[..., TokenSet]:
    def run(path: Path, **options: Any) -> TokenSet:
        options = {"max_tokens": LIMIT, "workers": 1} | options
        return prepare(path, chatml_folder, tmp_path / "cache", **options)

    return run


def _made(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "tokens").iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("truncation", ["drop_turns", "truncate"])
@pytest.mark.usefixtures("small_batches")
def test_it_holds_what_the_renderer_gives(
    workers: int,
    truncation: Truncation,
    rows: list[Row],
    chatml: ChatTokenizer,
    write_rows: WriteRows,
    prepared: Callable[..., TokenSet],
) -> None:
    expected = render_rows(chatml, rows, LIMIT, truncation=truncation)
    said: list[str] = []
    found = prepared(write_rows(*rows), workers=workers, truncation=truncation, say=said.append)
    assert [e.token_ids for e in found] == [e.token_ids for e in expected.examples]
    assert [e.loss_mask for e in found] == [e.loss_mask for e in expected.examples]
    assert found.lengths.tolist() == [len(e) for e in expected.examples]
    assert found.supervised.tolist() == [sum(e.loss_mask) for e in expected.examples]
    assert (found.truncated, found.dropped) == (expected.truncated, expected.dropped)
    assert found.cut == expected.cut > 0
    assert (found.rows, found.tokens) == (len(rows), expected.tokens)
    assert found.truncated
    assert found.dropped
    assert found[-1] == found[len(found) - 1] == found[len(found) - 1 :][0]
    assert found.lengths.dtype == found.supervised.dtype == np.int32
    assert said[-1].endswith(f": {expected.tokens:,} tokens.")
    with pytest.raises(IndexError):
        _ = found[len(found)]


def test_a_second_time_nothing_is_rendered(
    rows: list[Row],
    write_rows: WriteRows,
    prepared: Callable[..., TokenSet],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_rows(*rows)
    first = prepared(path)
    monkeypatch.setattr(ChatTokenizer, "load", None)  # whoever calls it fails
    again = prepared(path.rename(path.with_name("other.jsonl")))
    assert list(again) == list(first)
    assert again.fingerprint() == first.fingerprint()


def test_everything_the_tokens_depend_on_is_in_the_key(
    rows: list[Row],
    chatml_folder: Path,
    write_rows: WriteRows,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import shutil

    cache = tmp_path / "cache"
    path = write_rows(*rows)
    prepare(path, chatml_folder, cache, max_tokens=LIMIT)
    prepare(path, chatml_folder, cache, max_tokens=LIMIT + 1)
    prepare(write_rows(*rows[1:], name="less.jsonl"), chatml_folder, cache, max_tokens=LIMIT)
    assert len(_made(cache)) == 3
    prepare(path, chatml_folder, cache, max_tokens=LIMIT, truncation="truncate")
    other = shutil.copytree(chatml_folder, tmp_path / "other")
    prepare(path, other, cache, max_tokens=LIMIT)
    assert len(_made(cache)) == 4  # a copy of the tokenizer is the same tokenizer
    template = other / "chat_template.jinja"
    template.write_text(template.read_text() + "{# changed #}")
    prepare(path, other, cache, max_tokens=LIMIT)
    assert len(_made(cache)) == 5
    monkeypatch.setattr("tokenizers.__version__", "99")
    prepare(path, other, cache, max_tokens=LIMIT)
    assert len(_made(cache)) == 6
    room = shutil.copytree(Path(tokens.__file__).parent, tmp_path / "room")
    monkeypatch.setattr(tokens, "__file__", str(room / "tokens.py"))
    prepare(path, other, cache, max_tokens=LIMIT)
    assert len(_made(cache)) == 6
    (room / "new.py").write_text("# code that was not there")
    prepare(path, other, cache, max_tokens=LIMIT)
    assert len(_made(cache)) == 7


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("ids.raw", lambda held: held[:-2]),
        ("ids.raw", lambda held: held[:40] + bytes([held[40] ^ 1]) + held[41:]),
        ("mask.raw", lambda held: b""),
        ("lengths.raw", lambda held: held[::-1]),
        ("meta.json", lambda held: held[:-5]),
        ("meta.json", lambda held: b"{}"),
        ("supervised.raw", None),
    ],
)
def test_a_damaged_cache_is_said_and_made_again(
    name: str,
    damage: Callable[[bytes], bytes] | None,
    rows: list[Row],
    write_rows: WriteRows,
    prepared: Callable[..., TokenSet],
    tmp_path: Path,
) -> None:
    path = write_rows(*rows)
    whole = list(prepared(path))
    (folder,) = _made(tmp_path / "cache")
    file = folder / name
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage(file.read_bytes()))
    said: list[str] = []
    assert list(prepared(path, say=said.append)) == whole
    assert "is damaged" in said[0]
    assert "made again" in said[0]
    assert list(prepared(path, say=said.append)) == whole
    assert len(said) == 1


def test_rows_that_cannot_be_rendered_are_told_by_number_and_nothing_is_kept(
    rows: list[Row],
    chatml: ChatTokenizer,
    write_rows: WriteRows,
    prepared: Callable[..., TokenSet],
    small_batches: None,
    tmp_path: Path,
) -> None:
    calling = chat("Who?", "")
    calling[1]["tool_calls"] = [
        {"id": "1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    ]
    bad = Row(messages=calling)
    path = write_rows(*rows[:30], bad, *rows[30:50], bad)
    for workers in (1, 2):
        with pytest.raises(InvalidInput, match="2 of 52 conversations cannot be used") as told:
            prepared(path, workers=workers)
        assert [fault.where for fault in told.value.faults] == ["row:31", "row:52"]
        assert "has no place for them" in told.value.faults[0].reason
        assert _made(tmp_path / "cache") == []


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.usefixtures("small_batches")
def test_rows_that_are_too_long_are_refused_by_number_where_that_is_an_error(
    workers: int,
    rows: list[Row],
    chatml: ChatTokenizer,
    write_rows: WriteRows,
    prepared: Callable[..., TokenSet],
    tmp_path: Path,
) -> None:
    sizes = {i: len(chatml.render_example(row["messages"])) for i, row in enumerate(rows, 1)}
    long = {number: size for number, size in sizes.items() if size > LIMIT}
    path = write_rows(*rows)
    with pytest.raises(
        InvalidInput, match=f"{len(long)} of 61 conversations have more than {LIMIT}"
    ) as told:
        prepared(path, truncation="error", workers=workers)
    assert [(fault.where, fault.reason.split()[0]) for fault in told.value.faults] == [
        (f"row:{number}", f"{size:,}") for number, size in long.items()
    ]
    assert told.value.total == len(long)
    assert "max_seq_length" in str(told.value.remedy)
    assert _made(tmp_path / "cache") == []
    whole = prepared(path, truncation="error", max_tokens=max(sizes.values()), workers=workers)
    assert (len(whole), whole.cut) == (61, 0)


def test_tools_that_the_template_leaves_out_are_told(
    rows: list[Row], write_rows: WriteRows, prepared: Callable[..., TokenSet], small_batches: None
) -> None:
    tools = [{"type": "function", "function": {"name": "find", "parameters": {}}}]
    offering = [Row(messages=row["messages"], tools=tools) for row in rows[:2]]
    found = prepared(write_rows(*rows[:40], *offering))
    assert len(found.notices) == 1
    assert found.notices[0].startswith("2 row(s), the first of them row 41, have tools; ")


def test_unreadable_rows_are_told_by_line(
    rows: list[Row], write_rows: WriteRows, prepared: Callable[..., TokenSet]
) -> None:
    with pytest.raises(InvalidInput, match="1 of 3 rows cannot be used") as told:
        prepared(write_rows(rows[0], b"{nonsense", rows[1]))
    assert told.value.faults[0].where == "faq.jsonl:2"


def test_an_empty_file_and_none(
    write_rows: WriteRows, prepared: Callable[..., TokenSet], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="is empty"):
        prepared(write_rows())
    with pytest.raises(NotFound, match=r"There is no file .*missing\.jsonl"):
        prepared(tmp_path / "missing.jsonl")


def test_a_file_of_which_nothing_fits_is_an_empty_set(
    rows: list[Row], write_rows: WriteRows, prepared: Callable[..., TokenSet]
) -> None:
    found = prepared(write_rows(*rows), max_tokens=3)
    assert (len(found), found.tokens, found.dropped) == (0, 0, len(rows))
    assert list(found) == []


@pytest.mark.usefixtures("small_batches")
def test_a_byte_order_mark_windows_lines_and_no_last_line_end(
    rows: list[Row], write_rows: WriteRows, prepared: Callable[..., TokenSet]
) -> None:
    plain = prepared(write_rows(*rows))
    path = write_rows(*rows, name="windows.jsonl", end=b"\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().rstrip())
    assert list(prepared(path)) == list(plain)


@pytest.mark.usefixtures("small_batches")
def test_a_process_that_dies_is_an_error_and_leaves_nothing(
    rows: list[Row],
    write_rows: WriteRows,
    prepared: Callable[..., TokenSet],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WorkerFailed, match="ended with code 1"):
        prepared(write_rows(*rows), workers=2)
    assert _made(tmp_path / "cache") == []


def test_killed_in_the_middle_it_leaves_nothing_that_counts(
    rows: list[Row], chatml_folder: Path, write_rows: WriteRows, tmp_path: Path
) -> None:
    path, cache = write_rows(*rows), tmp_path / "cache"
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from phoundry.data import token_files, tokens\n"
        "def die(*_): os.kill(os.getpid(), 9)\n"
        "token_files.TokenWriter.finish = die\n"
        "tokens.prepare(*map(Path, sys.argv[1:]), max_tokens=60, workers=1)\n"
    )
    command = [sys.executable, "-c", script, str(path), str(chatml_folder), str(cache)]
    assert subprocess.run(command, check=False).returncode == -9
    assert _made(cache) == []
    assert len(list((cache / "tokens").iterdir())) == 2  # the lock and the remains
    found = prepare(path, chatml_folder, cache, max_tokens=LIMIT)
    assert found.rows == len(rows)
    assert len(list((cache / "tokens").iterdir())) == 2  # the lock and what was made


def test_a_full_disk_is_told_and_leaves_nothing(
    rows: list[Row],
    write_rows: WriteRows,
    prepared: Callable[..., TokenSet],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(token_files.TokenWriter, "add", full)
    with pytest.raises(InsufficientResources, match="The disk is full") as told:
        prepared(write_rows(*rows))
    assert told.value.remedy
    assert _made(tmp_path / "cache") == []


def test_the_fingerprint_is_of_every_id_and_mask(
    rows: list[Row], write_rows: WriteRows, prepared: Callable[..., TokenSet]
) -> None:
    learnt = Row(messages=chat("Who?", "Bill.", "And?", "Paul."))
    unlearnt: Row = json.loads(json.dumps(learnt))
    unlearnt["messages"][1]["weight"] = 0
    sets = [
        prepared(write_rows(*held)) for held in ((learnt, rows[0]), (unlearnt, rows[0]), (learnt,))
    ]
    assert sets[0][0].token_ids == sets[1][0].token_ids
    assert len({found.fingerprint() for found in sets}) == 3
