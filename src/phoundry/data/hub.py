"""Data sets of Hugging Face: on the hub, on a mirror of it, or in a folder.

`fetch_dataset` brings the files of one split here and hands them over to be read like any others.
Of a slice, and of formats that only the package `datasets` reads, it writes JSONL. No code of a
data set is ever run. `datasets` itself only looks at folders: nothing but our own downloads asks
the network, and only the hub.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from phoundry.data.hub_files import Repository, open_repository
from phoundry.data.hub_plan import Plan, make_plan, saved_plan
from phoundry.data.hub_rows import write_rows
from phoundry.data.sources import SUFFIXES, SourceFile
from phoundry.errors import InvalidInput, MissingDependency

Say = Callable[[str], None]

_PREFIXES = ("hf://datasets/", "https://huggingface.co/datasets/")
_ID = re.compile(r"[A-Za-z0-9][-\w.]*/[A-Za-z0-9][-\w.]*")
_FILE_ENDINGS = (*SUFFIXES, ".gz", ".zst", ".zstd", ".txt", ".zip", ".gguf", ".yaml", ".yml")


def is_dataset_id(source: str) -> bool:
    """Whether `source` names a data set for `fetch_dataset` rather than files.

    That is `OWNER/NAME` (also with `hf://datasets/` or the address of its page before it) where no
    such file or folder is here, or a folder that is laid out as a data set: one that `datasets`
    saved, or one whose README.md says which files are which split.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return _is_saved(path) or _has_card(path)
    name = _plain(source)
    if name != source:
        return _ID.fullmatch(name) is not None
    looks_like_file = source.lower().endswith(_FILE_ENDINGS)
    return not path.exists() and not looks_like_file and _ID.fullmatch(source) is not None


def fetch_dataset(
    source: str,
    *,
    config: str | None = None,
    split: str | None = None,
    cache_dir: Path,
    say: Say | None = None,
) -> list[SourceFile]:
    """The files that hold `split` of `config` of a data set, on this machine.

    Args:
        source: an id of the hub (`OWNER/NAME`), or a folder laid out as a data set.
        config: its configuration; the default one, or the only one, if None.
        split: `train`, or with the slicing syntax of `datasets`: `train_sft[:1%]`, `train[10:20]`,
            `train+test`. If None, `train`, or the only one there is.
        cache_dir: what was fetched before is taken from here; what was cut short goes on.
        say: is told, in sentences for people, what goes on.

    Raises:
        NotFound: the hub has no such data set, or hides it.
        Forbidden: it is gated and not open to `HF_TOKEN`.
        Unavailable: offline or not to be reached, and not in the cache.
        InvalidInput: no such configuration or split, with those there are; a slice that cannot be
            read; a data set that is only a script; files of a kind that cannot be read.
        InsufficientResources: the disk is full. MissingDependency: `datasets` is not installed.
    """
    tell: Say = say or _silent
    _need_datasets()
    folder = Path(source).expanduser()
    if folder.is_dir() and _is_saved(folder):
        plan: Plan = saved_plan(folder, split)
        return [_rows_file(plan, f"{folder.resolve()}", cache_dir, tell)]
    if folder.is_file():
        raise InvalidInput(
            f"'{source}' is a file; a configuration and a split belong to a data set.",
            remedy="Leave --config and --split away, or name the data set's folder or id.",
        )
    repository = open_repository(_plain(source), cache_dir / "datasets", tell)
    with make_plan(repository, config, split) as plan:
        tell(f"{repository.name}: configuration '{plan.config}', split '{plan.split}'.")
        paths = repository.fetch(plan.files, tell)
        if plan.direct:
            return [
                SourceFile(path, f"{repository.name}/{name}")
                for name, path in zip(plan.files, paths, strict=True)
            ]
        plan.link(paths)
        return [_rows_file(plan, _version(repository, plan), cache_dir, tell)]


def _rows_file(plan: Plan, version: str, cache_dir: Path, say: Say) -> SourceFile:
    """The planned rows as JSONL in the cache, under a name that stands for what they are."""
    digest = hashlib.sha256(f"{version}\0{plan.config}\0{plan.split}".encode()).hexdigest()
    path = cache_dir / "datasets" / "rows" / f"{digest[:24]}.jsonl"
    if plan.volatile or not path.is_file():
        count = write_rows(plan, path)
        say(f"{plan.name}: {count:,} rows of '{plan.split}'.")
    short = plan.name.rpartition("/")[2]
    return SourceFile(path, f"{short}-{plan.split}.jsonl")


def _version(repository: Repository, plan: Plan) -> str:
    stamps = [] if repository.commit else [path.stat().st_mtime_ns for path in plan.linked]
    return f"{repository.name}@{repository.commit}{stamps}"


def _silent(message: str) -> None:
    pass


def _plain(source: str) -> str:
    """The id without what some write before it."""
    for prefix in _PREFIXES:
        if source.startswith(prefix):
            return source.removeprefix(prefix).strip("/")
    return source


def _is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote the folder."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def _has_card(folder: Path) -> bool:
    """Whether README.md begins with a card that names files of configurations or splits."""
    readme = folder / "README.md"
    if not readme.is_file():
        return False
    text = readme.read_text(encoding="utf-8", errors="replace")[:100_000]
    match = re.match(r"---\r?\n(.*?)\n---", text, re.DOTALL)
    return match is not None and re.search(r"^configs:", match[1], re.MULTILINE) is not None


def _need_datasets() -> None:
    try:
        import datasets  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError as error:
        missing = MissingDependency.extra(str(error.name), "data", "Reading a data set of the hub")  # noqa: S610
        raise missing from None
