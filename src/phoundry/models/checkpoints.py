"""What a checkpoint folder may hold, and taking it in file by file.

Weights are read from safetensors and nothing else; Python that comes with a model is never run.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, cast

from phoundry.errors import Fault, InvalidInput, ModelError
from phoundry.files import read_json, write_atomic
from phoundry.models.architectures import architecture
from phoundry.models.tensors import Weights, sha256_weights

# What a checkpoint needs, by the ends of its file names; nothing else is fetched or copied.
WANTED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
# Formats that run code when they are read.
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy")


def read_config(folder: Path, *, coded: bool = False) -> dict[str, Any]:
    """config.json of a checkpoint, with what transformers takes for keys that it leaves out.

    `coded`: it may name code of its own, for whoever takes that out before it is used.

    Raises:
        InvalidInput: not there, not an object, asks for code of its own, or of an architecture that
            is not supported.
    """
    config = _json(folder / "config.json")
    if not config:
        raise InvalidInput(f"{folder} holds no config.json.")
    if not coded:
        refuse_code(folder)
    kind = architecture(str(config.get("model_type")))
    if quantized := config.get("quantization_config"):
        raise InvalidInput(
            f"The weights in {folder} are quantised ({_method(quantized)}).",
            remedy="Use the model's unquantised checkpoint (float32, float16 or bfloat16), or a "
            ".gguf file of it; Phoundry quantises when it converts.",
        )
    return {**kind.defaults, **config}


def _method(quantized: Any) -> str:
    known = cast("dict[str, Any]", quantized) if isinstance(quantized, dict) else {}
    return str(known.get("quant_method") or "an unknown way")


def refuse_code(folder: Path) -> None:
    """Raise InvalidInput if a config in `folder` names Python to be run (`auto_map`)."""
    faults: list[Fault] = []
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        config = _json(folder / name)
        if "auto_map" in config:
            faults.append(Fault(str(folder / name), "'auto_map' asks for code of its own"))
    if faults:
        raise InvalidInput(
            "This checkpoint wants to run its own Python code.",
            faults=faults,
            remedy="Phoundry never runs code of a checkpoint. If the architecture is one that it "
            "supports, remove 'auto_map' from these files.",
        )


def check_folder(folder: Path) -> dict[str, Any]:
    """Check a whole checkpoint folder and return its config.

    Raises:
        InvalidInput: every fault at once: links that leave the folder, weights only as pickle,
            no tokenizer.json.
    """
    config = read_config(folder)
    faults = [
        Fault(
            str(path),
            "is a link to a place outside the folder; `cp -rL` copies without links",
        )
        for path in wanted_files(folder)
        if not path.resolve().is_relative_to(folder.resolve())
    ]
    if not (folder / "tokenizer.json").is_file():
        faults.append(Fault(str(folder), "holds no tokenizer.json"))
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if not any(folder.glob("*.safetensors")):
        found = f"; found {', '.join(pickles)}, which run code when read" if pickles else ""
        faults.append(Fault(str(folder), f"holds no .safetensors{found}"))
    if faults:
        raise InvalidInput(
            "This checkpoint cannot be used.",
            faults=faults,
            remedy="A checkpoint is a folder with config.json, tokenizer.json and safetensors.",
        )
    Weights(folder)  # reads every header: a file that was cut short is found now, not in training
    return config


def unchanged(folder: Path, sha256: str | None) -> None:
    """Raise ModelError if the weights in `folder` are not those that `sha256` was taken of.

    Reads them all once, which brings them into memory for whoever reads them next.
    """
    if sha256 is None:
        return
    found = sha256_weights(folder)
    if found != sha256:
        raise ModelError(
            f"The weights in {folder} have changed since they were recorded: SHA-256 "
            f"{found[:12]}…, not {sha256[:12]}….",
            remedy="Do not use them. Put the files back from a copy, or remove the folder and let "
            "Phoundry make it again (of a registered model: train or register it again).",
        )


def wanted_files(folder: Path) -> list[Path]:
    """The files of `folder` that belong to a checkpoint, by name."""
    found = {path for pattern in WANTED for path in folder.glob(pattern)}
    return sorted(path for path in found if path.is_file())


def copy_checkpoint(source: Path, destination: Path, *, link: bool = False) -> None:
    """Copy the wanted files into the existing `destination`.

    `link`: hard links where the file system allows, for a source that nobody else writes to.
    """
    for path in wanted_files(source):
        target = destination / path.name
        if link and _linked(path.resolve(), target):
            continue
        shutil.copyfile(path, target)


def copy_tokenizer(source: Path, destination: Path) -> None:
    """Copy everything of a checkpoint but its weights."""
    for path in wanted_files(source):
        if ".safetensors" not in path.name:
            shutil.copyfile(path, destination / path.name)


def settle_template(folder: Path) -> None:
    """Make sure that the folder has chat_template.jinja.

    Older checkpoints keep the template inside tokenizer_config.json.

    Raises:
        InvalidInput: there is no template.
    """
    if (folder / "chat_template.jinja").is_file():
        return
    config: dict[str, Any] = read_json(folder / "tokenizer_config.json") or {}
    template: Any = config.get("chat_template")
    if isinstance(template, list):  # several, by name
        entries = cast("list[dict[str, Any]]", template)
        template = {entry.get("name"): entry.get("template") for entry in entries}.get("default")
    if not isinstance(template, str):
        raise InvalidInput(
            "This model has no chat template, so a conversation cannot be written for it.",
            remedy="Choose an instruct or chat model, or add chat_template.jinja to its folder.",
        )
    write_atomic(folder / "chat_template.jinja", template)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        return False
    return True


def _json(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}.") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(f"{path} holds no JSON object.")
    return value  # pyright: ignore[reportUnknownVariableType]
