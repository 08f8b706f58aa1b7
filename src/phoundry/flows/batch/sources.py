"""Rows of a data file or folder, one after the other: JSONL, JSON, CSV, TSV.

Memory is that of one row (a `.json` list is the exception). Values of CSV and TSV are text, as they
stand in the file: the flow's input types turn them into numbers.
"""

from __future__ import annotations

import csv
import json
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

from phoundry.errors import NotFound
from phoundry.flows.batch.errors import SHOWN, invalid_data
from phoundry.flows.document import is_list, is_mapping

Row = dict[str, Any]
DELIMITERS = {".csv": ",", ".tsv": "\t"}
IMAGE = "data:image/"  # begins the key of an image value; the path behind it is the data file's
LONGEST_CELL = 2**31 - 1  # characters; Python's own limit of 131,072 is shorter than many texts


def rows(path: Path) -> Iterator[Row]:
    """The rows of the file `path`, or of every file in the folder `path`, by name.

    Raises:
        NotFound: it is not there, or a folder without a file.
        InvalidUserData: a file that is not what its name says, with every faulty line.
    """
    if not path.exists():
        raise NotFound(f"There is no data file {path}.")
    if path.is_file():
        yield from _file(path)
        return
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and not _hidden(file, path)]
    if not files:
        raise NotFound(f"The data folder {path} holds no file.")
    for file in files:
        yield from _file(file)


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _file(path: Path) -> Iterator[Row]:
    suffix = path.suffix.lower()
    if suffix in DELIMITERS:
        yield from _table(path, DELIMITERS[suffix])
    elif suffix == ".json":
        yield from _list(path)
    else:
        yield from _lines(path)


def _lines(path: Path) -> Iterator[Row]:
    """One JSON object a line. After a faulty line only faults are looked for."""
    faults: list[str] = []
    total = 0
    loads = json.JSONDecoder().decode
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = line.removeprefix(BOM_UTF8)
            if not line.strip():
                continue
            try:
                row: Any = loads(line.decode())
                reason = None if type(row) is dict else "not a JSON object"
            except ValueError as error:  # UnicodeDecodeError is one, too
                row, reason = None, f"not JSON: {error}"
            except RecursionError:
                row, reason = None, "nested too deeply"
            if reason is not None:
                total += 1
                if total <= SHOWN:
                    faults.append(f"{path.name}:{number}: {reason}")
            elif not total:
                yield _located(row, path) if b"data:image/" in line else row
    if total:
        raise invalid_data(path.name, faults, total)


def _list(path: Path) -> Iterator[Row]:
    try:
        found: Any = json.loads(path.read_bytes())
    except ValueError as error:
        raise invalid_data(path.name, [f"{path.name}: not JSON: {error}"], 1) from None
    items = _items(found)
    bad = [place for place, item in enumerate(items, start=1) if not isinstance(item, dict)]
    if bad:
        faults = [f"{path.name}: item {place} is not a JSON object" for place in bad[:SHOWN]]
        raise invalid_data(path.name, faults, len(bad))
    for item in items:
        yield _located(item, path)


def _items(found: Any) -> list[Any]:
    """The rows of a `.json` file: its list, the rows of its columns (`{"a": [1, 2], "b": [3, 4]}`,
    as Prompt flow reads an object of equally long lists), or the one object that it is."""
    if is_list(found):
        return found
    columns: dict[str, Any] = found if is_mapping(found) else {}
    lengths = {len(item) for item in columns.values() if is_list(item)}
    if len(lengths) != 1 or any(is_mapping(item) for item in columns.values()):
        return [found]
    (length,) = lengths
    cells = [item if is_list(item) else [item] * length for item in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*cells, strict=True)]


def _names(cells: Sequence[str]) -> list[str]:
    """The columns' names, each once: a second `a` is `a.1`, one without a name `Unnamed: 2`, as
    Prompt flow calls them. A mapping can name any of them, and no column hides another."""
    names: list[str] = []
    for place, cell in enumerate(cells):
        name, again = cell or f"Unnamed: {place}", 0
        while name in names or (again and name in cells):
            again += 1
            name = f"{cell}.{again}"
        names.append(name)
    return names


def _table(path: Path, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_CELL)
    faults: list[str] = []
    total = 0
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            names = _names(next(reader, list[str]()))
            for cells in reader:
                if len(cells) <= len(names):
                    if cells and not total:
                        # Empty cells at its end may be left out, as Prompt flow reads it.
                        yield dict(zip_longest(names, cells, fillvalue=""))
                else:
                    total += 1
                    if total <= SHOWN:
                        told = f"{len(cells)} cells under {len(names)} column names"
                        faults.append(f"{path.name}:{reader.line_num}: {told}")
        except csv.Error as error:
            total += 1
            faults.append(f"{path.name}:{reader.line_num}: {error}")
        except UnicodeDecodeError as error:
            total += 1
            faults.append(f"{path.name}: not UTF-8 (byte {error.start})")
    if total:
        raise invalid_data(path.name, faults[:SHOWN], total)


def _located(value: Any, file: Path) -> Any:
    """`value` with the paths of its images, which are relative to the data file, made absolute."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if len(fields) == 1:
            key, text = next(iter(fields.items()))
            if key.startswith(IMAGE) and key.endswith(";path") and isinstance(text, str):
                return {key: str((file.parent / text).resolve())}
        return {key: _located(item, file) for key, item in fields.items()}
    if isinstance(value, list):
        return [_located(item, file) for item in cast("list[Any]", value)]
    return value
