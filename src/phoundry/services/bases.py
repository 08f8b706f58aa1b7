"""Base models: from a name to a Hugging Face folder on disk."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from phoundry.errors import NotFound, from_dict
from phoundry.files import read_json
from phoundry.models import catalog
from phoundry.services import tasks
from phoundry.services.context import Context
from phoundry.services.rows import find, names
from phoundry.specs.model import CatalogModel
from phoundry.specs.names import split_version
from phoundry.store.tables import ModelRow


def check(session: Session, context: Context, reference: str) -> None:
    """Raise NotFound, with the nearest names, unless `reference` is a model we can get at."""
    if registered(session, context, reference) is None:
        _source(session, context, reference)


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
    if row is not None and row.checkpoint_dir:
        return Path(row.checkpoint_dir)
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


def retry(session: Session, context: Context, reference: str) -> None:
    """Forget that making this model's folder failed before."""
    if registered(session, context, reference) is None:
        key, _ = _place(context, _source(session, context, reference))
        tasks.retry(session, context, key)


def listing() -> list[CatalogModel]:
    """The base models that can be named, by name."""
    return [entry.view() for entry in catalog.CATALOG]


def config(session: Session, context: Context, reference: str) -> dict[str, Any] | None:
    """The model's config.json where it can be known before its files are fetched."""
    row = registered(session, context, reference)
    if row is not None and row.checkpoint_dir:
        return read_json(Path(row.checkpoint_dir) / "config.json")
    source = _source(session, context, reference)
    if source.entry is not None:
        return dict(source.entry.config)
    if source.kind == "folder":
        return read_json(Path(source.location) / "config.json")
    return None


def _place(context: Context, source: catalog.ModelSource) -> tuple[str, Path]:
    """The task's key and the folder of a source: readable, and different for every source."""
    slug = re.sub(r"[^a-zA-Z0-9.]+", "-", source.name).strip("-.")[-60:]
    digest = hashlib.sha256(source.location.encode()).hexdigest()[:8]
    return f"materialize/{slug}-{digest}", context.home.checkpoints / f"{slug}-{digest}"


def _source(session: Session, context: Context, reference: str) -> catalog.ModelSource:
    try:
        return catalog.resolve(reference)
    except NotFound:
        known = [*names(session, context, ModelRow), *(model.name for model in listing())]
        raise NotFound.named(
            "model",
            reference,
            known,
            remedy="`phoundry model list --catalog` shows every model; "
            "a folder or a .gguf file may be named too.",
        ) from None
