"""Base models that can be named, and what a name stands for.

Nothing here touches the network or imports anything heavy: `resolve` only says where a model is.
`materialize` fetches it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from phoundry.errors import InvalidInput, NotFound
from phoundry.models.base_models import CATALOG, CatalogEntry, PackageFile, count_parameters

__all__ = [
    "CATALOG",
    "CatalogEntry",
    "ModelSource",
    "PackageFile",
    "count_parameters",
    "find",
    "recommended",
    "resolve",
]

SourceKind = Literal["package", "hub", "folder", "gguf"]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a base model is. `location` is a path, a hub id or a package reference."""

    kind: SourceKind
    name: str
    location: str
    entry: CatalogEntry | None = None


_HUB_ID = re.compile(r"[A-Za-z0-9][-\w.]*/[A-Za-z0-9][-\w.]*")


def find(name: str) -> CatalogEntry | None:
    """The entry whose name, hub id or alias is `name`, whatever its case."""
    wanted = name.lower()
    for entry in CATALOG:
        if wanted in (known.lower() for known in entry.names):
            return entry
    return None


def resolve(name: str) -> ModelSource:
    """What `name` stands for: a catalog entry, a local folder or .gguf file, or a hub id.

    A path is told from a hub id by its beginning (`.`, `/`, `~`), by ending in `.gguf`, or by
    being there.

    Raises:
        NotFound: none of them; with the nearest names of the catalog.
        InvalidInput: a folder without config.json.
    """
    if entry := find(name):
        kind: SourceKind = "package" if entry.package else "hub"
        return ModelSource(kind, entry.name, entry.source.partition(":")[2], entry)
    path = Path(name).expanduser()
    looks_like_path = name.startswith((".", "/", "~")) or name.lower().endswith(".gguf")
    if looks_like_path or path.exists():
        return _local(name, path)
    if _HUB_ID.fullmatch(name) and ".." not in name:
        return ModelSource("hub", name, name)
    raise NotFound.named(
        "model",
        name,
        [known for entry in CATALOG for known in entry.names],
        remedy="`phoundry model list --catalog` lists base models; a folder or .gguf file will do.",
    )


def recommended(model: str | Mapping[str, Any]) -> dict[str, Any]:
    """Fine-tuning parameters that suit a catalog name or a model's config.json.

    A model outside the catalog gets those of the entry with its `model_type` whose size is
    nearest, or none.
    """
    if isinstance(model, str):
        entry = find(model)
        return dict(entry.recommended) if entry else {}
    family = [entry for entry in CATALOG if entry.config["model_type"] == model.get("model_type")]
    if not family or not model.get("hidden_size"):
        return {}
    size = int(model["hidden_size"])
    return dict(min(family, key=lambda entry: abs(entry.config["hidden_size"] - size)).recommended)


def _local(name: str, path: Path) -> ModelSource:
    if not path.exists():
        raise NotFound(
            f"There is no file or folder '{name}'.", remedy="Check the path to the base model."
        )
    absolute = path.resolve()
    if absolute.is_file():
        if absolute.suffix.lower() != ".gguf":
            raise InvalidInput(
                f"'{name}' is a file, but not a .gguf one.",
                remedy="Name a Hugging Face folder (with config.json) or a .gguf file.",
            )
        return ModelSource("gguf", absolute.stem, str(absolute))
    if not (absolute / "config.json").is_file():
        raise InvalidInput(
            f"The folder '{name}' holds no config.json.",
            remedy="Name a Hugging Face checkpoint folder or a .gguf file.",
        )
    return ModelSource("folder", absolute.name, str(absolute))
