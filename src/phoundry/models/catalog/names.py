"""What a name stands for: an entry of the catalog, a model of a hub, a folder or a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from phoundry.errors import InvalidInput, NotFound, nearest
from phoundry.models.architectures import ARCHITECTURES
from phoundry.models.catalog import gemma, llama, mistral, phi, qwen, smollm
from phoundry.models.catalog.entry import CatalogEntry
from phoundry.models.catalog.sizes import text_config

CATALOG: tuple[CatalogEntry, ...] = (
    *smollm.ENTRIES,
    *phi.ENTRIES,
    *qwen.ENTRIES,
    *gemma.ENTRIES,
    *llama.ENTRIES,
    *mistral.ENTRIES,
)

SourceKind = Literal["package", "hub", "folder", "gguf"]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a base model is. `location` is a path, a hub id or a package reference."""

    kind: SourceKind
    name: str
    location: str
    entry: CatalogEntry | None = None


_HUB_ID = re.compile(r"[A-Za-z0-9][-\w.]*/[A-Za-z0-9][-\w.]*")
_HUB_PAGE = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([^/]+/[^/?#]+)(?:[/?#].*)?"
)
# azureml://registries/azureml/models/Phi-3-mini-4k-instruct/versions/13 (or /labels/latest)
_AZURE = re.compile(r"azureml://registries/[^/]+/models/([^/]+)(?:/(?:versions|labels)/[^/]+)?/?")


def find(name: str) -> CatalogEntry | None:
    """The entry whose name, hub id or alias is `name`, whatever its case.

    The address of a model's page on the hub and a reference to one of Azure's registries count
    too: the last part of the hub id is the name that Azure gives the same model.
    """
    page, azure = _HUB_PAGE.fullmatch(name), _AZURE.fullmatch(name)
    wanted = (page[1] if page else azure[1] if azure else name).lower()
    for entry in CATALOG:
        if wanted in (known.lower() for known in entry.names):
            return entry
        if azure and wanted == entry.hub_id.partition("/")[2].lower():
            return entry
    return None


def resolve(name: str) -> ModelSource:
    """What `name` stands for: a catalog entry, a local folder or .gguf file, or a hub id.

    A path is told from a hub id by its beginning (`.`, `/`, `~`), by ending in `.gguf`, or by
    being there. `https://huggingface.co/ORG/NAME` is the hub id in it.

    Raises:
        NotFound: none of them; with the nearest names of the catalog.
        InvalidInput: a folder without config.json.
    """
    if entry := find(name):
        kind: SourceKind = "package" if entry.package else "hub"
        return ModelSource(kind, entry.name, entry.source.partition(":")[2], entry)
    if azure := _AZURE.fullmatch(name):
        raise _unknown_in_azure(azure[1])
    path = Path(name).expanduser()
    looks_like_path = name.startswith((".", "/", "~")) or name.lower().endswith(".gguf")
    page = _HUB_PAGE.fullmatch(name)
    if not page and (looks_like_path or path.exists()):
        return _local(name, path)
    hub_id = page[1] if page else name
    if _HUB_ID.fullmatch(hub_id) and ".." not in hub_id:
        return ModelSource("hub", hub_id, hub_id)
    near = nearest_names(name)
    hint = f"Did you mean {', '.join(near)}? " if near else ""
    raise NotFound(
        f"There is no model '{name}'.",
        remedy=f"{hint}`phoundry model list --catalog` lists base models; a folder or .gguf file "
        "will do.",
    )


def search(words: str) -> list[CatalogEntry]:
    """Entries that have every word of `words` in their names, family, title or licence."""
    wanted = words.lower().split()
    return [
        entry
        for entry in CATALOG
        if all(word in _searchable(entry) or entry is find(word) for word in wanted)
    ]


def nearest_names(name: str) -> list[str]:
    """Up to three names of different entries that a user who typed `name` may have meant."""
    known = {each: entry.name for entry in CATALOG for each in entry.names}
    found = nearest(name, known, limit=12)
    return list(dict.fromkeys(known[each] for each in found))[:3]


def obstacle(config: Mapping[str, Any]) -> str | None:
    """Why a model with this config.json cannot be used here, or None."""
    kind = str(config.get("model_type"))
    if "text_config" in config or "vision_config" in config:
        return (
            f"The architecture '{kind}' mixes text with images or sound; only text models can be "
            "used."
        )
    if kind not in ARCHITECTURES:
        return f"The architecture '{kind}' is not supported; {', '.join(ARCHITECTURES)} are."
    return None


def check_usable(source: ModelSource) -> None:
    """Raise InvalidInput for an entry of the catalog that only others can use."""
    if source.entry is None or (reason := obstacle(source.entry.config)) is None:
        return
    fitting = [each.name for each in CATALOG if obstacle(each.config) is None]
    same = [each for each in fitting if (entry := find(each)) and _alike(entry, source.entry)]
    raise InvalidInput(
        f"{source.name} cannot be used here. {reason}",
        remedy=f"Choose another one, such as {(same or fitting)[0]}.",
    )


def recommended(model: str | Mapping[str, Any]) -> dict[str, Any]:
    """Fine-tuning parameters that suit a catalog name or a model's config.json.

    A model outside the catalog gets those of the entry with its `model_type` whose size is
    nearest, or none.
    """
    if isinstance(model, str):
        entry = find(model)
        return dict(entry.recommended) if entry else {}
    model = text_config(model)
    family = [
        entry
        for entry in CATALOG
        if text_config(entry.config)["model_type"] == model.get("model_type")
    ]
    if not family or not model.get("hidden_size"):
        return {}
    size = int(model["hidden_size"])

    def distance(entry: CatalogEntry) -> int:
        return abs(int(text_config(entry.config)["hidden_size"]) - size)

    return dict(min(family, key=distance).recommended)


def _searchable(entry: CatalogEntry) -> str:
    return " ".join([*entry.names, entry.title, entry.family, entry.licence]).lower()


def _alike(one: CatalogEntry, other: CatalogEntry) -> bool:
    return one.family == other.family


def _unknown_in_azure(model: str) -> NotFound:
    near = nearest_names(model)
    hint = f"Did you mean {', '.join(near)}? " if near else ""
    return NotFound(
        f"'{model}' of Azure's registry is not in the catalog, and Azure's registries cannot be "
        "reached from here.",
        remedy=f"{hint}Name the model's id on a hub (ORG/NAME), a folder or a .gguf file.",
    )


def _local(name: str, path: Path) -> ModelSource:
    if not path.exists():
        raise NotFound(
            f"There is no file or folder '{name}'.", remedy="Check the path to the base model."
        )
    absolute = path.resolve()
    if absolute.is_file():
        if not _is_gguf(path):
            raise InvalidInput(
                f"'{name}' is a file, but not a .gguf one.",
                remedy="Name a Hugging Face folder (with config.json) or a .gguf file.",
            )
        return ModelSource("gguf", path.stem, str(absolute))
    if not (absolute / "config.json").is_file():
        raise InvalidInput(
            f"The folder '{name}' holds no config.json.",
            remedy="Name a Hugging Face checkpoint folder or a .gguf file.",
        )
    return ModelSource("folder", absolute.name, str(absolute))


def _is_gguf(path: Path) -> bool:
    """By its name or its first bytes: stores that go by content hash name files by no ending."""
    if path.suffix.lower() == ".gguf":
        return True
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"
