"""A model of the hub, brought here: looked at first, then its small files, then its weights.

Whatever will not do is refused before gigabytes are fetched: weights only as pickles, an
architecture that is not supported, code of its own. What the user's own cache of Hugging Face holds
whole is taken from there, without the network.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

from phoundry.errors import InvalidInput
from phoundry.files import read_json, write_json
from phoundry.hub import cache, trouble
from phoundry.hub.download import Report, Say, download, spoken
from phoundry.hub.kinds import MODEL
from phoundry.hub.listing import HubFile, Listing, list_files
from phoundry.hub.place import user_cache
from phoundry.models import catalog
from phoundry.models.checkpoints import PICKLES, WANTED, copy_checkpoint, read_config
from phoundry.models.tensors import INDEX, SINGLE, weight_files

_SMALL = frozenset(name for name in WANTED if "*" not in name) | {INDEX}
_CONFIGS = ("config.json", "tokenizer_config.json", "generation_config.json")


def hub_folder(hub_id: str, cache_dir: Path, say: Say, report: Report | None = None) -> Path:
    """A folder of its own under `cache_dir` with the checkpoint `hub_id`.

    Args:
        hub_id: `OWNER/NAME`. `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME`, `HF_HUB_OFFLINE` are respected.
        cache_dir: a download that was cut short is here, and goes on.
        say: is told, in sentences, what goes on.
        report: is told the file, the bytes that are here and the bytes in all.

    Raises:
        NotFound, Forbidden, Unavailable, InsufficientResources: see `phoundry.hub`.
        InvalidInput: the repository is no checkpoint that can be used here.
    """
    place = cache_dir / "hub" / hub_id.replace("/", "--")
    if folder := _from_user_cache(hub_id, place, say):
        return folder
    listing = list_files(hub_id, MODEL)
    refuse(listing)
    folder = place / listing.commit[:16]
    _drop_others(folder)
    small = [file for file in listing.files if file.path in _SMALL]
    download(listing, small, folder, say=say)
    check_config(hub_id, folder)
    weights = _weights(listing, folder)
    say(f"Downloading {hub_id} ({trouble.size(sum(file.size for file in weights))}).")
    download(listing, weights, folder, say=say, report=report or spoken(say))
    _settle_code(hub_id, folder, say)
    return folder


def refuse(listing: Listing) -> None:
    """Raise InvalidInput where the names of a repository's files tell that it cannot be used."""
    names = [file.path for file in listing.files if "/" not in file.path]
    if SINGLE in names or INDEX in names:
        lacking = [name for name in ("config.json", "tokenizer.json") if name not in names]
        if not lacking:
            return
        raise InvalidInput(
            f"The hub's '{listing.hub_id}' has weights but no {' and no '.join(lacking)}.",
            remedy="Choose a model in Hugging Face's format. Nothing was downloaded.",
        )
    found = [name for name in names if name.lower().endswith(PICKLES)]
    if found:
        raise InvalidInput(
            f"The hub's '{listing.hub_id}' has its weights only as {', '.join(found[:3])}, "
            "which run code when they are read.",
            remedy="Choose a model with safetensors; many have such a copy on the hub. "
            "Nothing was downloaded.",
        )
    raise InvalidInput(
        f"The hub's '{listing.hub_id}' holds no model in safetensors.",
        remedy=_instead(names),
    )


def _instead(names: list[str]) -> str:
    if "adapter_config.json" in names:
        return (
            "It is an adapter: download its folder, then "
            "`phoundry model register NAME --path FOLDER`."
        )
    if ggufs := [name for name in names if name.lower().endswith(".gguf")]:
        return f"It holds GGUF files: download one, such as {ggufs[0]}, and name that file."
    return f"It holds {', '.join(names[:8]) or 'no files'}."


def _weights(listing: Listing, folder: Path) -> list[HubFile]:
    """The files with the weights: what config and index name, not a second copy of the same."""
    names: list[str] = [SINGLE]
    if listing.find(SINGLE) is None:
        index = cast("dict[str, Any]", read_json(folder / INDEX) or {})
        shards: dict[str, str] = index.get("weight_map", {})
        names = sorted(set(shards.values()))
    found = [listing.find(name) for name in names]
    if not found or None in found:
        missing = [name for name, file in zip(names, found, strict=True) if file is None]
        raise InvalidInput(
            f"The hub's '{listing.hub_id}' is not whole: its index names "
            f"{', '.join(missing[:3]) or 'no file'}, which is not there.",
            remedy="Tell its owner, or choose another model.",
        )
    return [file for file in found if file is not None]


def check_config(hub_id: str, folder: Path) -> None:
    """Raise InvalidInput where the configs in `folder` tell that the model cannot be used.

    Asked before the weights are fetched, and by whoever only looks at the model.
    """
    read_config(folder, coded=catalog.find(hub_id) is not None)


def _settle_code(hub_id: str, folder: Path, say: Say) -> None:
    """A model of our catalog needs no code of its own: what names it is taken out.

    Microsoft's Phi-3 says `auto_map` although transformers has had its architecture for long.
    Models that we do not know keep it, and are refused for it.
    """
    entry = catalog.find(hub_id)
    if entry is None:
        return
    for name in _CONFIGS:
        config: Any = read_json(folder / name)
        if isinstance(config, dict) and "auto_map" in config:
            say(f"{name} names code of its own; it is left out, {entry.name} needs none.")
            del config["auto_map"]
            write_json(folder / name, config)


def _from_user_cache(hub_id: str, place: Path, say: Say) -> Path | None:
    """The checkpoint from the user's own cache of Hugging Face, if that holds it whole."""
    snapshot = cache.snapshot(hub_id, MODEL)
    if snapshot is None or not _is_whole(snapshot):
        return None
    say(f"Taking {hub_id} from the cache of Hugging Face ({user_cache()}).")
    if wrong := cache.damaged(snapshot):
        say(f"That copy is damaged ({', '.join(wrong[:3])}); it is fetched anew.")
        return None
    folder = place / snapshot.name[:16]
    _drop_others(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    copy_checkpoint(snapshot, folder, link=True)
    _settle_code(hub_id, folder, say)
    return folder


def _is_whole(snapshot: Path) -> bool:
    if not (snapshot / "config.json").is_file() or not (snapshot / "tokenizer.json").is_file():
        return False
    try:
        return bool(weight_files(snapshot))
    except InvalidInput:
        return False


def _drop_others(folder: Path) -> None:
    """Remove what is left of downloads of other commits of the same model."""
    if folder.parent.is_dir():
        for other in folder.parent.iterdir():
            if other.name != folder.name and other.is_dir():
                shutil.rmtree(other, ignore_errors=True)


def discard(folder: Path, cache_dir: Path) -> None:
    """Remove a snapshot that has been taken over; only ever inside `cache_dir`."""
    if folder.resolve().is_relative_to(cache_dir.resolve()):
        shutil.rmtree(folder, ignore_errors=True)
