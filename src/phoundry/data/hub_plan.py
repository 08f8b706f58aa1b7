"""Which files of a data set hold the rows that were asked for: configuration, split, slice.

`datasets` knows the rules: a card's `configs`, names such as `train-00000-of-00002.parquet`,
folders called `test`. They look at names only. So it is shown a folder with every file of the
repository, empty, and asked; the files that it names are the ones that are fetched.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phoundry.data.hub_cards import check_cards, outside
from phoundry.data.hub_files import CARDS, Repository
from phoundry.errors import InvalidInput, nearest

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
# Readers of `datasets` for rows; its others decode pictures, sounds and arrays.
_READERS = ("parquet", "json", "csv", "arrow", "text")


@dataclass(slots=True)
class Plan:
    """What to read. `files` belong to `repository`; `builder` or `saved` is of `datasets`.

    `direct`: the files can be read as they are. `volatile`: they may change without a new name.
    """

    name: str
    config: str
    split: str
    files: tuple[str, ...] = ()
    direct: bool = False
    volatile: bool = False
    builder: Any = None
    saved: dict[str, Any] | None = None
    view: Path = Path()
    linked: list[Path] = field(default_factory=list[Path])

    def link(self, paths: Sequence[Path]) -> None:
        """Put the real files in the place of the empty ones that `builder` has seen."""
        for name, path in zip(self.files, paths, strict=True):
            (self.view / name).unlink()
            (self.view / name).symlink_to(path.resolve())
        self.linked = list(paths)


@contextmanager
def make_plan(repository: Repository, config: str | None, split: str | None) -> Generator[Plan]:
    """The plan for one configuration and split; good for as long as the block lasts.

    Raises:
        InvalidInput: see `phoundry.data.hub.fetch_dataset`.
    """
    view = Path(tempfile.mkdtemp(prefix="phoundry-data-"))
    try:
        folder = _empty_copy(repository, view / repository.name.rpartition("/")[2])
        check_cards(repository.name, folder)
        builder = _builder(repository, folder, config, view / "cache")
        found: dict[str, list[str]] = builder.config.data_files or {}
        files = {str(name): list(paths) for name, paths in found.items()}
        chosen = _split(split, sorted(files), f"configuration '{builder.config.name}'")
        bases = split_names(chosen, sorted(files))
        names = [_own(repository, folder, path) for base in bases for path in files[base]]
        yield Plan(
            repository.name,
            str(builder.config.name),
            chosen,
            tuple(dict.fromkeys(names)),
            direct="[" not in chosen and _is_plain(builder, names),
            volatile=repository.commit is None,
            builder=builder,
            view=folder,
        )
    finally:
        shutil.rmtree(view, ignore_errors=True)


def saved_plan(folder: Path, split: str | None) -> Plan:
    """The plan for a folder that `save_to_disk` wrote."""
    from datasets import (
        Dataset,
        load_from_disk,  # pyright: ignore[reportUnknownVariableType]
    )

    try:
        found: Any = load_from_disk(str(folder))
    except (ValueError, OSError, KeyError) as error:
        raise InvalidInput(f"The saved data set {folder} cannot be read: {error}.") from None
    saved: dict[str, Any] = {"train": found} if isinstance(found, Dataset) else dict(found)
    chosen = _split(split, sorted(saved), f"folder {folder}")
    split_names(chosen, sorted(saved))
    return Plan(folder.name, "default", chosen, volatile=True, saved=saved)


def split_names(spec: str, known: Sequence[str]) -> list[str]:
    """The splits of `train[:1%]+test`, each known.

    Raises:
        InvalidInput: not the slicing syntax, or a split that is not there.
    """
    from datasets import ReadInstruction

    try:
        ReadInstruction.from_spec(spec)
    except (ValueError, AssertionError) as error:
        raise InvalidInput(
            f"The split '{spec}' cannot be read: {error}.",
            remedy="Write a split with or without a slice: 'train', 'train[:1%]', "
            "'train[100:200]', 'train+test'.",
        ) from None
    names = [re.split(r"[\[(]", term.strip())[0].strip() for term in spec.split("+")]
    for name in names:
        if name not in known:
            raise _no_split(name, known)
    return list(dict.fromkeys(names))


def _own(repository: Repository, folder: Path, path: str) -> str:
    """The name of the repository's file that `path` stands for."""
    name = path.removeprefix(f"{folder}/")
    if name not in repository.names:
        raise outside(repository.name, name)
    return name


def _split(split: str | None, known: Sequence[str], where: str) -> str:
    if split is not None:
        return split
    if "train" in known:
        return "train"
    if len(known) == 1:
        return known[0]
    raise InvalidInput(
        f"The {where} has several splits: {', '.join(known) or 'none'}.",
        remedy=f"Choose one with --split, such as --split {known[0] if known else 'train'}.",
    )


def _no_split(name: str, known: Sequence[str]) -> InvalidInput:
    near = nearest(name, known, 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return InvalidInput(f"There is no split '{name}'; there are {', '.join(known)}.{hint}")


def _empty_copy(repository: Repository, folder: Path) -> Path:
    """A folder with the real cards and empty files under the names of the others."""
    for name in repository.names:
        path = folder / name
        if name.endswith(".py"):  # a script that we would not run; beside data, data will do
            continue
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InvalidInput(f"The data set names the file '{name}', outside of its folder.")
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in CARDS:
            shutil.copyfile(repository.folder / name, path)
        else:
            path.touch()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _builder(repository: Repository, folder: Path, config: str | None, cache: Path) -> Any:
    from datasets import (
        get_dataset_config_names,  # pyright: ignore[reportUnknownVariableType]
        load_dataset_builder,  # pyright: ignore[reportUnknownVariableType]
    )
    from datasets.exceptions import DatasetsError

    try:
        known = [str(name) for name in get_dataset_config_names(str(folder))]
        if config is not None and config not in known:
            raise _no_config(repository.name, config, known)
        if config is None and len(known) > 1 and "default" not in known:
            raise _no_config(repository.name, None, known)
        builder = load_dataset_builder(str(folder), config, cache_dir=str(cache))
        if builder.name not in _READERS:
            raise ValueError(f"its files are of the kind '{builder.name}'")
        return builder
    except InvalidInput:
        raise
    except (DatasetsError, FileNotFoundError, ValueError, TypeError) as error:
        raise _unreadable(repository, folder, error) from error


def _no_config(name: str, config: str | None, known: Sequence[str]) -> InvalidInput:
    near = nearest(config, known, 1) if config else []
    hint = f" Did you mean {near[0]}?" if near else ""
    which = f"no configuration '{config}'; it has" if config else "several configurations:"
    shown = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
    return InvalidInput(
        f"The data set '{name}' has {which} {shown}.{hint}",
        remedy=f"Choose one with --config, such as --config {(near or known)[0]}.",
    )


def _unreadable(repository: Repository, folder: Path, error: Exception) -> InvalidInput:
    scripts = [name for name in repository.names if name.endswith(".py")]
    archives = [name for name in repository.names if name.lower().endswith(_ARCHIVES)]
    if scripts:
        return InvalidInput(
            f"The data set '{repository.name}' is made by a script ({scripts[0]}), and Phoundry "
            "runs no code of a data set.",
            remedy="Look for a copy of it in Parquet or JSONL on the hub; or load it elsewhere, "
            "write JSONL, and name that file.",
        )
    if archives:
        return InvalidInput(
            f"The data set '{repository.name}' is packed in archives ({archives[0]}).",
            remedy="Unpack them, and name the folder.",
        )
    text = str(error).replace(f"{folder}/", "").replace(str(folder), repository.name)
    reason = " ".join(text.split())[:300]
    return InvalidInput(
        f"The data set '{repository.name}' cannot be read: {reason}.",
        remedy="Data sets are files of Parquet, JSON, CSV or Arrow. It holds: "
        f"{', '.join(repository.names[:10])}.",
    )


def _is_plain(builder: Any, names: Sequence[str]) -> bool:
    """Whether the files say everything: no setting of the card changes how they are read."""
    config, kinds = builder.config, {name.lower().split(".", 1)[-1] for name in names}
    if len(kinds) > 1:
        return False
    match str(builder.name):
        case "parquet":
            return not config.columns and not config.filters
        case "json":
            return config.field is None
        case "csv":
            return config.sep in (",", "\t") and not (config.names or config.column_names)
        case _:
            return False
