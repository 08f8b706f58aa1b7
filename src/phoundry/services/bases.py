"""Base models: from a name to a Hugging Face folder on disk."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.errors import Conflict, NotFound, PhoundryError, from_dict
from phoundry.files import read_json
from phoundry.models import catalog
from phoundry.services import tasks
from phoundry.services.context import Context
from phoundry.services.rows import find, names
from phoundry.settings import Home
from phoundry.specs.base import Preparation
from phoundry.specs.names import split_version
from phoundry.specs.quantization import QUANTIZATIONS, Quantization
from phoundry.store.tables import ModelRow


def check(session: Session, context: Context, reference: str) -> None:
    """Make sure that `reference` is a model that we can get at.

    Raises:
        NotFound: it names nothing; with the nearest names.
        Conflict: a registered version that is not ready.
    """
    row = registered(session, context, reference)
    if row is None:
        _source(session, context, reference)
    else:
        _ready(row)


def pinned(session: Session, context: Context, reference: str) -> str:
    """`reference` with the version that a bare model name stands for now: it must never change."""
    row = registered(session, context, reference)
    return reference if row is None else f"{row.name}:{row.version}"


def registered(session: Session, context: Context, reference: str) -> ModelRow | None:
    """The registered version that `NAME`, `NAME:VERSION` or `models:/NAME/VERSION` names.

    A bare name is its newest version that is ready.
    """
    name, version = split_version(reference)
    if version is None:
        return find(session, context, ModelRow, name, status="Ready")
    if not version.isdigit():
        return None
    return find(session, context, ModelRow, name, version=int(version))


def checkpoint(session: Session, context: Context, reference: str) -> Path | None:
    """The model's Hugging Face folder, or None while it is being made.

    Raises:
        PhoundryError: the reference names nothing, or making the folder failed.
    """
    row = registered(session, context, reference)
    if row is not None:
        return _ready(row)
    key, folder = _place(context, _source(session, context, reference))
    if (folder / "source.json").exists():
        return folder
    spec = {
        "model": reference,
        "checkpoint_dir": str(folder),
        "cache_dir": str(context.home.cache),
    }
    task = tasks.ensure(session, context, key, "phoundry.models.materialize", spec)
    if task.error:
        raise from_dict(task.error)
    return None


def recorded_sha256(session: Session, context: Context, checkpoint: Path) -> str | None:
    """SHA-256 that the weights of a checkpoint had when it was fetched or registered.

    None for a checkpoint that was made before this was kept.
    """
    query = select(ModelRow.sha256).filter_by(
        workspace=context.workspace, checkpoint_dir=str(checkpoint)
    )
    if found := session.scalars(query.limit(1)).first():
        return found
    facts = read_json(checkpoint / "source.json")
    return facts.get("sha256") if isinstance(facts, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]


def made(session: Session, context: Context, reference: str) -> Path | None:
    """The model's Hugging Face folder where it is there already; nothing is begun."""
    row = registered(session, context, reference)
    if row is not None:
        folder = Path(row.checkpoint_dir) if row.checkpoint_dir else None
        return folder if folder and folder.is_dir() else None
    _, folder = _place(context, _source(session, context, reference))
    return folder if (folder / "source.json").exists() else None


def tokenizer_dir(session: Session, context: Context, reference: str) -> Path | None:
    """A folder with the model's tokenizer, where there is one already: its own, or the user's."""
    if (folder := made(session, context, reference)) is not None:
        return folder
    found = _source(session, context, reference)
    folder = Path(found.location)
    there = found.kind == "folder" and (folder / "tokenizer.json").exists()
    return folder if there else None


def preparation(session: Session, context: Context, reference: str) -> Preparation | None:
    """How far the model has come that somebody waits for, or None where nothing is under way."""
    row = registered(session, context, reference)
    if row is not None:
        folder = Path(row.checkpoint_dir) if row.checkpoint_dir else None
        own = tasks.preparation(session, context, *_conversions(folder)) if folder else None
        # What is served as an adapter waits for its base as well.
        return own or (row.base_model and preparation(session, context, row.base_model)) or None
    try:
        key, folder = _place(context, _source(session, context, reference))
    except PhoundryError:
        return None  # a folder of the user's that is gone since: whoever needs it says so
    return tasks.preparation(session, context, key, *_conversions(folder))


def retry(session: Session, context: Context, reference: str) -> None:
    """Forget that making this model's folder, or its GGUF, failed before."""
    row = registered(session, context, reference)
    if row is not None:
        folder = _ready(row)
        with suppress(PhoundryError):  # gone since: whoever serves an adapter on it says so
            if row.base_model:
                retry(session, context, row.base_model)
    else:
        key, folder = _place(context, _source(session, context, reference))
        tasks.retry(session, context, key)
    tasks.retry(session, context, _conversion(folder))


def conversion_key(checkpoint: Path, quantization: Quantization) -> str:
    """The key of the task that converts a checkpoint to GGUF. Checkpoints never change."""
    return f"{_conversion(checkpoint)}{quantization}"


def adapter_gguf(home: Home, checkpoint: Path) -> tuple[str, Path]:
    """The task that converts the adapter of a registered checkpoint, and the file that it makes."""
    key = f"{_conversion(checkpoint)}adapter"
    return key, home.cache / "gguf" / f"{key.removeprefix('convert/')}.gguf"


def ggufs(home: Home, checkpoint: Path) -> dict[Quantization, Path]:
    """Where the GGUF files of a checkpoint are, or would be."""
    folder = home.cache / "gguf"
    name = _conversion(checkpoint).removeprefix("convert/")
    return {kind: folder / f"{name}{kind}.gguf" for kind in QUANTIZATIONS}


def _conversion(checkpoint: Path) -> str:
    return f"convert/{hashlib.sha256(str(checkpoint).encode()).hexdigest()[:16]}-"


def _conversions(checkpoint: Path) -> list[str]:
    kinds = [conversion_key(checkpoint, kind) for kind in QUANTIZATIONS]
    return [*kinds, f"{_conversion(checkpoint)}adapter"]


def config(session: Session, context: Context, reference: str) -> dict[str, Any] | None:
    """The model's config.json where it can be known before its files are fetched."""
    row = registered(session, context, reference)
    if row is not None and row.checkpoint_dir:
        return read_json(Path(row.checkpoint_dir) / "config.json")
    found = _source(session, context, reference)
    if found.entry is not None:
        return dict(catalog.text_config(found.entry.config))
    if found.kind == "folder":
        return read_json(Path(found.location) / "config.json")
    return None


def _ready(row: ModelRow) -> Path:
    """The folder of a registered version. Raises Conflict unless it is ready and there."""
    name = f"{row.name}:{row.version}"
    if row.status != "Ready" or not row.checkpoint_dir:
        raise Conflict(
            f"Model '{name}' is {row.status}; only a ready one can be used.",
            remedy=f"See `phoundry model show {name}`.",
        )
    folder = Path(row.checkpoint_dir)
    if not folder.is_dir():
        raise Conflict(
            f"The files of model '{name}' are gone from {folder}.",
            remedy="Put them back, or train and register again.",
        )
    return folder


def _place(context: Context, source: catalog.ModelSource) -> tuple[str, Path]:
    """The task's key and the folder of a source: readable, and different for every source."""
    slug = re.sub(r"[^a-zA-Z0-9.]+", "-", source.name).strip("-.")[-60:]
    digest = hashlib.sha256(source.location.encode()).hexdigest()[:8]
    return f"materialize/{slug}-{digest}", context.home.checkpoints / f"{slug}-{digest}"


def source(session: Session, context: Context, reference: str) -> catalog.ModelSource:
    """Where a base model is, whether or not it can be used. Raises NotFound with nearest names."""
    try:
        return catalog.resolve(reference)
    except NotFound:
        if reference.startswith(("azureml://", ".", "/", "~")) or reference.endswith(".gguf"):
            raise  # a path, or of Azure's registries: no name comes near
        ours = names(session, context, ModelRow)
        name, version = split_version(reference)
        if version is not None and name in ours:
            raise NotFound(
                f"Model '{name}' has no version '{version}'.",
                remedy="`phoundry model list` shows what is registered.",
            ) from None
        known = [*ours, *(entry.name for entry in catalog.CATALOG)]
        raise NotFound.named(
            "model",
            reference,
            known,
            remedy="`phoundry model list --catalog` shows every model; "
            "a folder or a .gguf file may be named too.",
        ) from None


def _source(session: Session, context: Context, reference: str) -> catalog.ModelSource:
    found = source(session, context, reference)
    catalog.check_usable(found)
    return found
