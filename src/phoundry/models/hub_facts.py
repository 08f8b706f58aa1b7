"""A model of a hub, known from its small files: nothing of its weights is fetched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from phoundry.errors import InvalidInput, MissingDependency, NotFound, PhoundryError, Unavailable
from phoundry.files import read_json
from phoundry.models import describe
from phoundry.models.checkpoints import PICKLES

_SMALL = ("config.json", "tokenizer_config.json", "chat_template.jinja")
_SECONDS = 10.0


def look(hub_id: str, cache: Path) -> describe.Described:
    """What the hub and the model's small files tell; they are kept under `cache`.

    HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are respected. Without the network, what an earlier
    look has kept is used.

    Raises:
        NotFound: the hub has no such model, or not for this token.
        InvalidInput: the hub's model has no config.json, or a damaged one.
        Unavailable: the hub cannot be reached and nothing is kept.
    """
    folder = cache / "hub-facts" / hub_id.replace("/", "--")
    facts: dict[str, Any] = {}
    try:
        facts = _fetch(hub_id, folder)
    except Unavailable:
        if not (folder / "config.json").is_file():
            raise
        facts["notes"] = ["The hub cannot be reached; this is what an earlier look has kept."]
    config: Any = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise InvalidInput(
            f"The hub's model '{hub_id}' has no config.json that can be read.",
            remedy="Choose a model in Hugging Face's format, or name a .gguf file of it.",
        )
    refused: list[str] = facts.pop("refused", [])
    if "auto_map" in config:
        facts.setdefault("notes", []).append(
            "Its config.json names Python of its own (auto_map), which is never run."
        )
    described = describe.of_config(
        hub_id,
        config,  # pyright: ignore[reportUnknownArgumentType]
        source=f"hub:{hub_id}",
        sources=[f"hub:{hub_id}"],
        **facts,
        **describe.template_facts(describe.read_template(folder)),
    )
    if refused and described.view.usable:
        described.view.usable, described.view.obstacle = False, " ".join(refused)
    return described


def _fetch(hub_id: str, folder: Path) -> dict[str, Any]:
    """Fields of `CatalogModel` from the hub's description; the small files go to `folder`."""
    try:
        from huggingface_hub import (
            HfApi,
            hf_hub_download,  # pyright: ignore[reportUnknownVariableType]
        )
        from huggingface_hub import errors as hub
    except ModuleNotFoundError as error:
        missing = MissingDependency.extra
        raise missing(str(error.name), "train", "Looking at a model of the hub") from None
    from httpx import HTTPError

    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    if offline:
        raise _unreachable(hub_id, "HF_HUB_OFFLINE is set")
    # Named at each call: the library reads its environment once, when it is imported.
    where = os.environ.get("HF_ENDPOINT") or None
    token = os.environ.get("HF_TOKEN") or None
    try:
        info: Any = HfApi(endpoint=where, token=token).model_info(
            hub_id, files_metadata=True, timeout=_SECONDS
        )
        names = set(_sizes(info))
        folder.mkdir(parents=True, exist_ok=True)
        for name in _SMALL:
            if name in names:
                hf_hub_download(
                    hub_id,
                    name,
                    local_dir=folder,
                    endpoint=where,
                    token=token,
                    etag_timeout=_SECONDS,
                )
    except hub.GatedRepoError:
        raise _gated(hub_id, where) from None
    except (hub.RepositoryNotFoundError, hub.HFValidationError, hub.RevisionNotFoundError):
        raise NotFound(
            f"The hub has no model '{hub_id}', or not for this token.",
            remedy="Check the id; for a private model set HF_TOKEN. `phoundry model list` shows "
            "models that are known.",
        ) from None
    except (hub.OfflineModeIsEnabled, hub.LocalEntryNotFoundError, HTTPError, OSError) as error:
        raise _unreachable(hub_id, type(error).__name__) from error
    return _facts(info)


def _facts(info: Any) -> dict[str, Any]:
    card: Any = info.card_data or {}
    licence = card.get("license")
    if licence == "other":
        licence = card.get("license_name") or licence
    files = _sizes(info)
    weights = {name: size for name, size in files.items() if name.endswith(".safetensors")}
    # Mistral's repositories hold the same weights a second time.
    weights = {
        name: size for name, size in weights.items() if "consolidated" not in name
    } or weights
    refused: list[str] = []
    if not weights:
        pickles = sorted(name for name in files if name.endswith(PICKLES))
        found = f" Found {', '.join(pickles[:3])}, which run code when read." if pickles else ""
        refused.append(f"The hub's files hold no .safetensors.{found}")
    stored: Any = info.safetensors
    return {
        "licence": licence if isinstance(licence, str) else None,
        "licence_url": card.get("license_link"),
        "gated": bool(info.gated) if info.gated is not None else None,
        "download_bytes": sum(weights.values()) or None,
        "parameters": None if stored is None else stored.total,
        "refused": refused,
    }


def _sizes(info: Any) -> dict[str, int]:
    """Bytes of each file, by name."""
    siblings: list[Any] = info.siblings or []
    return {str(file.rfilename): int(file.size or 0) for file in siblings}


def _gated(hub_id: str, endpoint: str | None) -> PhoundryError:
    page = f"{endpoint or 'https://huggingface.co'}/{hub_id}"
    return NotFound(
        f"The hub's model '{hub_id}' is gated: its licence must be accepted first.",
        remedy=f"Accept it at {page} and set HF_TOKEN to a token of that account.",
    )


def _unreachable(hub_id: str, reason: str) -> Unavailable:
    return Unavailable(
        f"The hub cannot be asked about '{hub_id}' ({reason}).",
        remedy="Check the network, HF_ENDPOINT and HF_HUB_OFFLINE, or name a local folder. "
        "`phoundry model list` needs no hub.",
    )
