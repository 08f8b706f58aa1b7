"""A batch on the command line: a YAML file, options, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.cli.arguments import assignments, placed
from phoundry.errors import UsageError

if TYPE_CHECKING:
    from phoundry.specs.batch import BatchJobSpec

TYPES = ("finetuning", "batch")


def is_batch(file: Path | None, kind: str | None, flags: Mapping[str, Any]) -> bool:
    """Whether a batch is asked for.

    Raises:
        UsageError: neither a file nor a batch, an unknown type, or options that a fine-tune has
            not.
    """
    if kind not in (None, *TYPES):
        raise UsageError(
            f"There is no type of job '{kind}'.", remedy=f"There are {' and '.join(TYPES)}."
        )
    written = _written_type(file) if file else None
    if kind and written and kind != written:
        raise UsageError(f"--type {kind} does not go with {file}, which is of type {written}.")
    found = kind or written
    if found == "batch":
        return True
    if file is None:
        raise UsageError(
            "No job is described.",
            remedy="Give a file with -f, or write --type batch --model M --input FILE.",
        )
    if flags:
        option = next(iter(flags)).replace("_", "-")
        raise UsageError(
            f"--{option} is of batches, and {file} is a fine-tune.",
            remedy="Override keys of the file with --set NAME=VALUE.",
        )
    return False


def batch_spec(
    file: Path | None, flags: Mapping[str, Any], settings: Sequence[str] | None
) -> BatchJobSpec:
    """What the file says, with what the options say over it.

    Raises:
        InvalidInput: every fault, with its line where it stands in a file.
    """
    from phoundry.client.checking import checked
    from phoundry.specs import yaml
    from phoundry.specs.batch import BatchJobSpec

    values: dict[str, Any] = {"type": "batch"}
    if file:
        spec = yaml.load(file, BatchJobSpec)
        values = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        values["input"] = seen_from(str(values["input"]), file.parent)
    if "model" in flags or "endpoint" in flags:  # one stands for the other
        values.pop("model", None)
        values.pop("endpoint", None)
    values = placed(values | dict(flags), assignments(settings, "--set"))
    return checked(BatchJobSpec, values, "The batch")


def seen_from(text: str, folder: Path) -> str:
    """`text` as a path from `folder` where a file is there; else as it is, a data asset's name."""
    path = folder / Path(text).expanduser()
    return str(path.absolute()) if path.is_file() else text


def _written_type(file: Path) -> str | None:
    from phoundry.specs import yaml

    document = yaml.load_document(file)
    return "batch" if str(document.get("type", "")).lower() == "batch" else "finetuning"
