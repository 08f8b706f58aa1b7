"""The rows of a data set that is read by `datasets`, as JSONL, one at a time."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from phoundry.data.hub_plan import Plan, split_names
from phoundry.errors import InvalidInput
from phoundry.files import sync_folder
from phoundry.hub import trouble


def write_rows(plan: Plan, path: Path) -> int:
    """Write the rows of `plan` to `path`, which is there when all of them are. Returns how many.

    Raises:
        InvalidInput: a slice that leaves no row, or files that are not what their names say.
    """
    from datasets.exceptions import DatasetsError

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    count = 0
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            for row in _rows(plan):
                file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        if not count:
            raise InvalidInput(f"The split '{plan.split}' of {plan.name} holds no row.")
        Path(temporary).replace(path)
    except OSError as error:
        if not trouble.is_full(error):
            raise
        raise trouble.full(
            path.parent, f"the rows of '{plan.split}' are not all written"
        ) from error
    except (DatasetsError, ValueError) as error:
        raise InvalidInput(f"The files of {plan.name} cannot be read: {error}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    sync_folder(path.parent)
    return count


def _rows(plan: Plan) -> Iterator[dict[str, Any]]:
    from datasets import ReadInstruction

    known = sorted(plan.saved or plan.builder.config.data_files)
    sizes = {name: _count(plan, name) for name in split_names(plan.split, known)}
    parts: Any = ReadInstruction.from_spec(plan.split).to_absolute(sizes)
    for part in parts:
        yield from islice(_split(plan, part.splitname), part.from_, part.to)


def _split(plan: Plan, name: str) -> Iterator[dict[str, Any]]:
    if plan.saved is not None:
        return iter(plan.saved[name])
    rows = plan.builder.as_streaming_dataset(split=name)
    if rows.features is None:  # and so no column that is to be decoded
        return iter(rows)
    # Not decoded: a picture or sound may be named by an address, which would be asked.
    return iter(rows.decode(False))


def _count(plan: Plan, name: str) -> int:
    """Rows of a split: of Parquet from the files' ends, else by reading."""
    if plan.saved is not None:
        return len(plan.saved[name])
    files = [str(path) for path in plan.builder.config.data_files[name]]
    if all(path.endswith(".parquet") for path in files):
        from pyarrow import parquet

        parquets: Any = parquet
        return sum(int(parquets.read_metadata(path).num_rows) for path in files)
    return sum(1 for _ in _split(plan, name))
