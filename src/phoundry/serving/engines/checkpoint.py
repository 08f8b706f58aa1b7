"""A Hugging Face folder before it is loaded: what was recorded, and no code of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phoundry.errors import ModelError
from phoundry.files import read_json, sha256_files


def check_unchanged(folder: Path, weights: tuple[str, ...], sha256: str | None) -> None:
    """Raise ModelError unless the weights are those that were recorded.

    Reads them once, which brings them into memory for whoever loads them next.
    """
    if sha256 is None:
        return
    try:
        found = sha256_files(folder / name for name in weights)
    except OSError as error:
        raise ModelError(f"The weights in {folder} cannot be read: {error}.") from None
    if found != sha256:
        raise ModelError(
            f"The weights in {folder} have changed since they were recorded: SHA-256 "
            f"{found[:12]}…, not {sha256[:12]}….",
            remedy="Do not serve them. Put the files back from a copy, or remove the folder and "
            "let Phoundry make it again (of a registered model: train or register it again).",
        )


def check_plain(folder: Path) -> None:
    """Raise ModelError for a folder without a config, or one that wants to run code of its own."""
    config = read_json(folder / "config.json")
    if config is None:
        raise ModelError(f"There is no config.json in {folder}.")
    if "auto_map" in config:
        raise ModelError(
            f"The checkpoint {folder.name} wants to run code of its own (auto_map).",
            remedy="Use a checkpoint of an architecture that transformers has built in.",
        )


def load_model(folder: Path, dtype: str) -> Any:
    """The checkpoint in transformers, for reading alone. Imports torch.

    Raises:
        ModelError: as `check_plain`, or transformers cannot load it.
    """
    from transformers import AutoModelForCausalLM

    check_plain(folder)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"transformers cannot load {folder.name}: {error}") from error
    return model.eval()
