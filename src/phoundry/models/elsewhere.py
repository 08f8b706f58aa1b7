"""Models trained elsewhere: what a path holds, and writing it as a checkpoint of ours.

    a folder with config.json          a Hugging Face checkpoint: copied
    a folder with adapter_config.json  a PEFT adapter: merged into its base
    a .gguf file                       llama.cpp's: read back, weights dequantised

`look_at` is light, for whoever asks; the rest is work for the worker that registers.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from phoundry.errors import Conflict, InvalidInput, NotFound
from phoundry.files import read_json, sha256_file
from phoundry.models import adapter as lora
from phoundry.models.checkpoints import (
    PICKLES,
    check_folder,
    copy_checkpoint,
    read_config,
    refuse_code,
    settle_template,
    wanted_files,
)
from phoundry.models.tensors import sha256_weights

Kind = Literal["folder", "adapter", "gguf"]
Say = Callable[[str], None]

# What an adapter's folder may bring instead of its base's: a tokenizer that belongs together.
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)


@dataclass(frozen=True, slots=True)
class Found:
    """What is at `path`. `base`, `revision`: what an adapter itself says of its base model.

    `revision` is None for the hub's newest commit of `main`, the one that is fetched here.
    """

    kind: Kind
    path: Path
    base: str | None = None
    revision: str | None = None


def look_at(path: Path) -> Found:
    """What `path` holds, from names and configs alone.

    Raises:
        NotFound: there is nothing.
        InvalidInput: no model, one that runs code when read, of an architecture that is not
            supported, or an adapter that is no plain LoRA.
    """
    if not path.exists():
        raise NotFound(
            f"There is no file or folder {path}.",
            remedy="The control plane reads it: name a place on its machine.",
        )
    if path.is_file():
        return _file(path)
    if (path / lora.CONFIG).is_file():
        return _adapter(path)
    if (path / "config.json").is_file():
        read_config(path)
        return Found("folder", path)
    raise InvalidInput(
        f"{path} holds no model: no config.json and no {lora.CONFIG}.", remedy=_hint(path)
    )


def _file(path: Path) -> Found:
    if path.suffix in PICKLES:
        raise InvalidInput(
            f"{path.name} runs code when it is read, and is never opened here.",
            remedy="Save the model as safetensors and name its folder, or name a .gguf file.",
        )
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"GGUF":
        return Found("gguf", path)
    raise InvalidInput(
        f"{path} is no GGUF file.",
        remedy="Name a .gguf file, or the folder that holds the model's config.json or an "
        f"adapter's {lora.CONFIG}.",
    )


def _adapter(path: Path) -> Found:
    whole = [
        file
        for file in wanted_files(path)
        if file.name.startswith("model") and file.suffix == ".safetensors"
    ]
    if whole and (path / "config.json").is_file():
        raise InvalidInput(
            f"{path} holds an adapter and a whole model ({whole[0].name}).",
            remedy="Put the one that you mean into a folder of its own and name that.",
        )
    refuse_code(path)
    settings = lora.read_settings(path)
    base, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    if not revision or revision == "main" or (base and Path(str(base)).is_dir()):
        revision = None  # a folder has none
    return Found("adapter", path, str(base) if base else None, revision)


def _hint(path: Path) -> str:
    """Where in or near the folder the model may be."""
    if (path / "MLmodel").is_file():
        return f"It is an MLflow model: name the checkpoint in it, such as {path}/artifacts/…"
    inside = sorted(
        str(child.relative_to(path))
        for child in (*path.iterdir(), *path.glob("*/*.gguf"))
        if child.suffix == ".gguf"
        or any((child / name).is_file() for name in ("config.json", lora.CONFIG))
    )
    if inside:
        return f"Name one of these in it: {', '.join(inside[:5])}."
    return "Name a Hugging Face checkpoint, a PEFT adapter's folder, or a .gguf file."


def identity(found: Found, base: Path | None) -> str:
    """SHA-256 that is the same for the same content, wherever it lies.

    Over names and bytes of the files that count; an adapter's has its base's weights in it.
    """
    digest = hashlib.sha256()
    for name, value in _contents(found).items():
        digest.update(f"{name}:{value}\n".encode())
    if base is not None:
        digest.update(f"base:{sha256_weights(base)}\n".encode())
    return digest.hexdigest()


def _contents(found: Found) -> dict[str, str]:
    """SHA-256 of each file that counts, by name."""
    if found.kind == "gguf":
        return {"gguf": sha256_file(found.path)}
    files = wanted_files(found.path)
    if found.kind == "adapter":
        own = (lora.CONFIG, lora.WEIGHTS, *_TOKENIZER)
        files = sorted(found.path / name for name in own if (found.path / name).is_file())
    return {file.name: sha256_file(file) for file in files}


def write(found: Found, base: Path | None, folder: Path, say: Say) -> tuple[str, dict[str, float]]:
    """Write the model as a checkpoint into the existing `folder`.

    Returns the SHA-256 of its weights, and what was measured on the way.

    Raises:
        InvalidInput: it is damaged, incomplete, has no chat template, or cannot be converted.
        Conflict: its files changed meanwhile.
        ModelError: the merged model does not compute what base and adapter do.
    """
    measured: dict[str, float] = {}
    if found.kind == "folder":
        say(f"Copying {found.path}.")
        check_folder(found.path)
        before = _contents(found)
        copy_checkpoint(found.path, folder)
        if before != _contents(Found("folder", folder)):
            raise Conflict(
                f"{found.path} changed while it was copied.",
                remedy="Register it when nothing writes to it any more.",
            )
    elif found.kind == "gguf":
        say(f"Unpacking {found.path.name}.")
        from phoundry.models.from_gguf import write_checkpoint

        write_checkpoint(found.path, folder)
    else:
        measured = _merge(found.path, base, folder, say)
    settle_template(folder)
    check_folder(folder)
    _check_use(folder)
    return sha256_weights(folder), measured


def _merge(path: Path, base: Path | None, folder: Path, say: Say) -> dict[str, float]:
    # Imports torch and PEFT.
    from phoundry.models.merge import merge
    from phoundry.models.merge_check import check_merge

    if base is None:
        raise InvalidInput(
            f"{path} does not say which base model it belongs to.",
            remedy="Name it with --base: a catalog name, a hub id, or a folder.",
        )
    say("Merging.")
    merge(base, path, folder)
    if (path / "tokenizer.json").is_file():  # saved with it, and trained with it
        for name in _TOKENIZER:
            if (path / name).is_file():
                shutil.copyfile(path / name, folder / name)
    say("Comparing the merged model with what PEFT computes.")
    found = check_merge(base, path, folder, with_peft=True)
    return {"merge_logit_error": found.error, "merge_logit_change": found.changed}


def _check_use(folder: Path) -> None:
    """Raise InvalidInput for what would be found out only when the model is used."""
    # Heavy (numpy, gguf, tokenizers).
    from phoundry.data import ChatTokenizer
    from phoundry.models.convert import check_convertible

    check_convertible(folder)
    ChatTokenizer.load(folder).render_prompt([{"role": "user", "content": "Hello"}])


def recorded_base(path: str) -> str | None:
    """The name under which a checkpoint folder of ours was made, or None.

    An adapter that was trained here names the folder of its base; its name outlives that.
    """
    facts: Any = read_json(Path(path) / "source.json") if path.startswith("/") else None
    known = cast("dict[str, Any]", facts) if isinstance(facts, dict) else {}
    return known.get("model")
