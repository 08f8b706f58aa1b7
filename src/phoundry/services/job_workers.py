"""What a worker of a fine-tune is told, and what it says in the user's own words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from phoundry.errors import NotFound
from phoundry.files import read_json
from phoundry.services import data
from phoundry.services.context import Context

_ROW = re.compile(r"row:(\d+)")
_OF_ROWS = re.compile(r"^[\d,]+ of ([\d,]+) conversations")


def worker_spec(
    context: Context,
    job: Mapping[str, Any],
    parameters: Mapping[str, Any],
    sources: Mapping[str, str],
    checkpoint: Path,
    run_dir: Path,
) -> dict[str, Any]:
    """spec.json of `phoundry.training` and of `phoundry.training.planner`.

    Args:
        job: a job's spec as it is stored, with its data pinned.

    Raises:
        NotFound: the data were deleted, and `run_dir` has had no worker that knows their files.
    """
    train, validation = data_paths(context, job, run_dir)
    return {
        "checkpoint_dir": str(checkpoint),
        "train_path": train,
        "validation_path": validation,
        "parameters": dict(parameters),
        "sources": dict(sources),
        "cache_dir": str(context.home.cache),
    }


def data_paths(context: Context, job: Mapping[str, Any], run_dir: Path) -> tuple[str, str | None]:
    """The files that `job` trains on and is evaluated on.

    Of data that were deleted since, those that its last worker was told of: `phoundry prune` keeps
    them for a job that may go on.
    """
    try:
        train = data.show(context, job["training_data"])
        if chosen := job.get("validation_data"):
            validation = data.split_path(context, data.show(context, chosen), "train")
        else:
            validation = data.split_path(context, train, "test")
        path = data.split_path(context, train, "train")
    except NotFound:
        told: dict[str, Any] = read_json(run_dir / "spec.json") or {}
        files = [told.get("train_path"), told.get("validation_path")]
        if not files[0] or not all(Path(file).is_file() for file in files if file):
            raise
        return files[0], files[1]
    return str(path), str(validation) if validation else None


@dataclass(frozen=True, slots=True)
class Wording:
    """Texts of a worker, which knows of files only, with the names that the user gave them."""

    names: tuple[tuple[str, str], ...]  # what the worker says, and what is said instead
    training: str
    validation: str  # the other place that a numbered row may be in; "" where there is none
    rows: tuple[int, int]  # of the two

    @classmethod
    def of(cls, context: Context, run_dir: Path, job: Mapping[str, Any]) -> Wording:
        """For the worker of `run_dir`, which does `job` (its stored spec)."""
        told: dict[str, Any] = read_json(run_dir / "spec.json") or {}
        own = job.get("validation_data") is None
        training = f"{job['training_data']} (train)"
        validation = (
            f"{job['training_data']} (test)" if own else f"{job['validation_data']} (train)"
        )
        if not told.get("validation_path"):
            validation = ""
        named = {
            "checkpoint_dir": str(job["model"]),
            "train_path": training,
            "validation_path": validation,
        }
        found: list[tuple[str, str]] = []
        for key, name in named.items():
            if told.get(key):
                path = Path(told[key])
                found.append((str(path), name))
                if path.name != Path(name).name:  # else it is the user's own word already
                    found.append((path.name, name))
        return cls(tuple(found), training, validation, _rows(context, job))

    def text(self, said: str) -> str:
        """`said`, in one pass: a name that stands for a path may hold that path's last part."""
        if not self.names:
            return said
        names = dict(reversed(self.names))  # of two names for one path, the first
        return _whole(names).sub(lambda found: names[found[0]], said)

    def error(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """An error of the wire form; a fault's `row:7` with the data that has the row."""
        message = str(body.get("message", ""))
        words = {**body, "message": self.text(message)}
        if body.get("remedy"):
            words["remedy"] = self.text(str(body["remedy"]))
        if faults := body.get("faults"):
            where = self._where(message)
            words["faults"] = [
                {
                    "where": _ROW.sub(where, self.text(each["where"])),
                    "reason": self.text(each["reason"]),
                }
                for each in cast("list[dict[str, str]]", faults)
            ]
        return words

    def _where(self, message: str) -> str:
        """`faq:1 (train) row 7`, as a pattern's replacement."""
        found = _OF_ROWS.match(message)
        counted = int(found[1].replace(",", "")) if found else None
        in_training, in_validation = (rows == counted for rows in self.rows)
        if not self.validation or (in_training and not in_validation):
            return rf"{self.training} row \1"
        if in_validation and not in_training:
            return rf"{self.validation} row \1"
        return rf"{self.training} or {self.validation} row \1"


def _whole(names: Mapping[str, str]) -> re.Pattern[str]:
    """Any of `names` that is no part of a longer word or path."""
    longest = sorted(names, key=len, reverse=True)
    return re.compile(rf"(?<![\w/-])(?:{'|'.join(map(re.escape, longest))})(?![\w-])")


def _rows(context: Context, job: Mapping[str, Any]) -> tuple[int, int]:
    """Of the training and the validation data; 0 of what was deleted since."""
    try:
        training = data.show(context, job["training_data"])
        if chosen := job.get("validation_data"):
            return training.train.rows, data.show(context, chosen).train.rows
    except NotFound:
        return 0, 0
    return training.train.rows, training.test.rows if training.test else 0
