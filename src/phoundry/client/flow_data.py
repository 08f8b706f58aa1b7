"""The data of a batch run: a file or folder as it is, or the rows of a data asset as a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from phoundry.errors import NotFound
from phoundry.files import PRIVATE, atomic_file

if TYPE_CHECKING:
    from phoundry.client.data import Data, Split

_ASSET = re.compile(r"(azureml:)?[A-Za-z0-9][-_.A-Za-z0-9]*([:@][A-Za-z0-9]+)?")
EXPORTED = "data.jsonl"


def data_of(
    assets: Data, named: str | None, split: Split, folder: Path
) -> tuple[str | None, Path | None]:
    """What `named` is called from now on, and the file or folder with its rows.

    A data asset is written to `data.jsonl` in the run's `folder`, and keeps its name with its
    version. Beside `messages` its rows have `question` (what the user said last), `answer` (what
    was said to it) and `chat_history` (what came before, as Prompt flow has it).

    Raises:
        NotFound: there is neither such a file nor such an asset.
    """
    if named is None:
        return None, None
    path = Path(named).expanduser()
    if path.exists():
        return str(path.absolute()), path.absolute()
    if not _ASSET.fullmatch(named) or path.suffix in (".jsonl", ".json", ".csv", ".tsv"):
        raise NotFound(
            f"There is no data file {named}.",
            remedy="Give a file (JSONL, JSON, CSV, TSV), a folder of them, or a data asset as "
            "NAME:VERSION.",
        )
    asset = assets.show(named)
    reference = f"{asset.name}:{asset.version}"
    target = folder / EXPORTED
    with assets.stream(reference, split=split) as pieces, atomic_file(target, mode=PRIVATE) as file:
        for line in _lines(pieces):
            row = with_columns(json.loads(line))
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return reference, target


def with_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """`row` with `question`, `answer` and `chat_history`, where it is a conversation."""
    turns = cast("Sequence[Mapping[str, Any]]", row.get("messages") or row.get("prompt") or ())
    asked = [place for place, turn in enumerate(turns) if turn.get("role") == "user"]
    if not asked:
        return dict(row)
    last = asked[-1]
    answers = [turn for turn in turns[last + 1 :] if turn.get("role") == "assistant"]
    answer = answers[-1].get("content") if answers else _chosen(row)
    history = list(_history(turns[:last]))
    return {
        **row,
        "question": turns[last].get("content"),
        "answer": answer,
        "chat_history": history,
    }


def _chosen(row: Mapping[str, Any]) -> Any:
    """The better answer of a preference pair."""
    chosen = cast("Sequence[Mapping[str, Any]]", row.get("chosen") or ())
    return chosen[-1].get("content") if chosen else None


def _history(turns: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    question: Any = None
    for turn in turns:
        if turn.get("role") == "user":
            question = turn.get("content")
        elif turn.get("role") == "assistant" and question is not None:
            answer = turn.get("content")
            yield {"inputs": {"question": question}, "outputs": {"answer": answer}}
            question = None


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line for line in whole if line.strip())
    if rest.strip():
        yield rest
