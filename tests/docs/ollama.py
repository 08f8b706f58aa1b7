"""A store as Ollama keeps one, with a tiny Llama called `llama3.2` in it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from phoundry.models.convert import convert
from tests.support.checkpoints import build


def ollama_store(folder: Path) -> Path:
    """The folder that `OLLAMA_MODELS` names: manifests, and blobs named by their hash."""
    checkpoint = folder / "tiny-llama"
    checkpoint.mkdir()
    build("llama", checkpoint, max_position_embeddings=512)
    gguf = folder / "tiny-llama.gguf"
    convert(checkpoint, gguf, "Q8_0")
    store = folder / "ollama"
    (store / "blobs").mkdir(parents=True)
    manifest = store / "manifests" / "registry.ollama.ai" / "library" / "llama3.2" / "latest"
    manifest.parent.mkdir(parents=True)
    layers = [
        _layer(store, "model", gguf.read_bytes()),
        _layer(store, "license", b"Of a tiny model."),
    ]
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return store


def _layer(store: Path, kind: str, content: bytes) -> dict[str, str | int]:
    digest = hashlib.sha256(content).hexdigest()
    (store / "blobs" / f"sha256-{digest}").write_bytes(content)
    return {
        "mediaType": f"application/vnd.ollama.image.{kind}",
        "digest": f"sha256:{digest}",
        "size": len(content),
    }
