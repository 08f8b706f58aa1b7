"""Parquet, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from phoundry.data.containers.records import Broken, Record
from phoundry.errors import InvalidInput, MissingDependency

_BATCH = 256


def parquet_columns(path: Path, name: str) -> list[str]:
    """Names of the columns. Raises InvalidInput where the file can't be read."""
    with _open(path, name) as file:
        return list(file.schema_arrow.names)


def parquet_rows(path: Path, name: str, columns: Sequence[str] | None = None) -> Iterator[Record]:
    """A record for each row, with its number instead of a line. Only `columns` are read.

    Raises:
        InvalidInput: the file can't be read.
        MissingDependency: pyarrow is not installed.
    """
    arrow = _arrow()
    number = 0
    with _open(path, name) as file:
        try:
            for batch in file.iter_batches(batch_size=_BATCH, columns=columns):
                for value in batch.to_pylist():
                    number += 1
                    yield number, value
        except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:
            reason = f"the file is damaged ({_first_line(error)}); nothing after this can be read"
            raise Broken(number + 1, "file damaged", reason) from None


def _open(path: Path, name: str) -> Any:
    arrow = _arrow()
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path, pre_buffer=False)
    except (arrow.ArrowException, OSError) as error:
        raise InvalidInput(
            f"{name} is a Parquet file that is cut or damaged: {_first_line(error)}",
            remedy="Copy or download it again.",
        ) from None


def _arrow() -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise MissingDependency.extra("pyarrow", "data", "Reading Parquet") from None  # noqa: S610
    return pyarrow


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
