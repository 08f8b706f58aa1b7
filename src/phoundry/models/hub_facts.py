"""A model of a hub, known from its small files: nothing of its weights is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from phoundry.errors import InvalidInput, MissingDependency, Unavailable
from phoundry.files import read_json, write_json
from phoundry.hub import cache
from phoundry.hub.download import download
from phoundry.hub.kinds import MODEL
from phoundry.hub.listing import Listing, list_files, patiently
from phoundry.hub.place import address
from phoundry.hub.trouble import explained
from phoundry.models import catalog, describe
from phoundry.models.snapshots import check_config, refuse

_SMALL = frozenset(
    {"config.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"}
)
_FACTS = "facts.json"  # what the hub itself told, beside the small files


def look(hub_id: str, cache_dir: Path) -> describe.Described:
    """What the hub and the model's small files tell; they are kept under `cache_dir`.

    `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and `HF_HUB_OFFLINE` are respected. Without the network
    what an earlier look has kept is used, or what the user's cache of Hugging Face holds.

    Raises:
        NotFound, Forbidden: the hub has no such model, or not for this token.
        Unavailable: the hub cannot be reached and nothing is kept.
        InvalidInput: the model has no config.json, or a damaged one.
        MissingDependency: `huggingface_hub` is not installed.
    """
    folder = cache_dir / "hub-facts" / hub_id.replace("/", "--")
    notes: list[str] = []
    try:
        _bring(hub_id, folder)
    except ModuleNotFoundError as error:
        missing = MissingDependency.extra  # named first: ruff takes `.extra(…)` for Django's
        raise missing(str(error.name), "train", "Looking at a model of the hub") from None
    except Unavailable:
        kept = _kept(hub_id, folder)
        if kept is None:
            raise
        folder = kept
        notes.append("The hub cannot be reached: this is what was kept of it here.")
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise InvalidInput(
            f"The hub's model '{hub_id}' has no config.json that can be read.",
            remedy="Choose a model in Hugging Face's format, or name a .gguf file of it.",
        )
    known = cast("dict[str, Any]", config)
    facts = cast("dict[str, Any]", read_json(folder / _FACTS) or {})
    refused = str(facts.pop("refused", "") or "") or _refusal(hub_id, folder)
    if "auto_map" in known and (entry := catalog.find(hub_id)):
        notes.append(f"It names code of its own; that is left out, {entry.name} needs none.")
    described = describe.of_config(
        hub_id,
        known,
        source=f"hub:{hub_id}",
        sources=[f"hub:{hub_id}"],
        notes=notes,
        **facts,
        **describe.template_facts(describe.read_template(folder)),
    )
    if refused and described.view.usable:
        described.view.usable, described.view.obstacle = False, refused
    return described


def _refusal(hub_id: str, folder: Path) -> str:
    """Why the model would be refused for its configs when it is fetched; empty if it would not."""
    try:
        check_config(hub_id, folder)
    except InvalidInput as error:
        faults = "; ".join(f"{Path(fault.where).name}: {fault.reason}" for fault in error.faults)
        return f"{error.message} {faults}".strip().replace(str(folder), hub_id)
    return ""


def _bring(hub_id: str, folder: Path) -> None:
    """Fetch the small files into `folder`, and keep what the hub itself tells beside them."""
    listing = list_files(hub_id, MODEL)
    small = [file for file in listing.files if file.path in _SMALL]
    download(listing, small, folder, say=lambda _: None)
    write_json(folder / _FACTS, {**_of_files(listing), **_of_card(hub_id)})


def _of_files(listing: Listing) -> dict[str, Any]:
    top = [file for file in listing.files if "/" not in file.path]
    # Mistral's repositories hold the same weights a second time, as `consolidated`.
    weights = [file for file in top if file.path.startswith("model")]
    size = sum(file.size for file in weights if file.path.endswith(".safetensors"))
    facts: dict[str, Any] = {"download_bytes": size or None}
    try:
        refuse(listing)
    except InvalidInput as error:
        facts["refused"] = str(error)
    return facts


def _of_card(hub_id: str) -> dict[str, Any]:
    """Licence, gate and number of weights, as the hub tells them of the model."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=address(), library_name="phoundry")
    with explained(hub_id, MODEL):
        info: Any = patiently(lambda: api.model_info(hub_id, timeout=15))
    card: Any = info.card_data or {}
    licence = card.get("license")
    if licence == "other":
        licence = card.get("license_name") or licence
    return {
        "licence": licence if isinstance(licence, str) else None,
        "licence_url": card.get("license_link"),
        "gated": None if info.gated is None else bool(info.gated),
        "parameters": info.safetensors.total if info.safetensors else None,
    }


def _kept(hub_id: str, folder: Path) -> Path | None:
    """Where an earlier look, or the user's own cache, has the model's config.json."""
    snapshot = cache.snapshot(hub_id, MODEL)
    places = [folder] if snapshot is None else [folder, snapshot]
    return next((place for place in places if (place / "config.json").is_file()), None)
