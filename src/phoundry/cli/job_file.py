"""A job's YAML on the command line: the data files that it names, and the lines of its faults."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.cli.arguments import assignments
from phoundry.cli.output import Printer
from phoundry.errors import InvalidInput

if TYPE_CHECKING:
    from phoundry.client import Client
    from phoundry.specs.job import FineTuningJobSpec

HELD_OUT = 0.2  # of the training file, where nothing else is named to evaluate on


def with_assets(
    client: Client, spec: FineTuningJobSpec, folder: Path, out: Printer
) -> FineTuningJobSpec:
    """`spec` with an asset in the place of each data file that is seen from `folder`.

    A file is known by its suffix, and by being there; what is none of them stays as it is. The
    asset is named after the file; the same file makes no second version of it.

    Raises:
        InvalidInput: bad rows, all of them.
    """
    named = {"training_data": spec.training_data, "validation_data": spec.validation_data}
    changes: dict[str, Any] = {}
    for key, text in named.items():
        if text is None or (path := _file(text, folder)) is None:
            continue
        alone = key == "training_data" and spec.validation_data is None
        asset = client.data.create(_name(path), path, test_size=HELD_OUT if alone else 0)
        changes[key] = f"{asset.name}:{asset.version}"
        rows = asset.train.rows + (asset.test.rows if asset.test else 0)
        out.note(f"{key}: {path} is the data asset {changes[key]} now, of {rows:,} rows.")
    return spec.model_copy(update=changes)


@contextmanager
def lines_told(file: Path, settings: Sequence[str] | None = None) -> Generator[None]:
    """What is found wrong with the hyperparameters of `file` only when the model is known, by line.

    Those that `settings` override have none.
    """
    from phoundry.specs import yaml
    from phoundry.specs.finetune import located

    try:
        yield
    except InvalidInput as error:
        overridden = {name.rpartition(".")[2] for name in assignments(settings, "--set")}
        raise located(error, str(file), yaml.load_document(file), overridden) from None


def _file(text: str, folder: Path) -> Path | None:
    path = folder / Path(text).expanduser()
    return path if path.suffix and path.is_file() else None


def _name(path: Path) -> str:
    """The file's name without its suffixes, of characters that an asset's name may have."""
    return re.sub(r"[^-_a-zA-Z0-9]+", "-", path.name.partition(".")[0]).strip("-_") or "data"
