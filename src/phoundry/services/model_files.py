"""The files of a model, to be taken elsewhere: a Hugging Face folder, or a GGUF."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.orm import Session

from phoundry.errors import PhoundryError
from phoundry.services import bases, engine_files
from phoundry.services.context import Context
from phoundry.specs.model import ModelFiles
from phoundry.specs.quantization import Quantization


def files(context: Context, reference: str, quantization: Quantization | None = None) -> ModelFiles:
    """Where the files of a registered or base model are; what is missing is begun to be made.

    A fetched base model, or a conversion, takes time: ask again until there is a path.

    Args:
        quantization: the kind of the GGUF; None: the Hugging Face folder.

    Raises:
        NotFound: the reference names nothing.
        Conflict: a registered version that is not ready.
        PhoundryError: fetching or converting it has failed; asked once more, it is tried again.
    """
    try:
        with context.begin("models/write") as session:
            reference = bases.pinned(session, context, reference)
            bases.check(session, context, reference)
            return _files(session, context, reference, quantization)
    except PhoundryError:
        with context.begin("models/write") as session:
            bases.retry(session, context, reference)
        raise


def _files(
    session: Session, context: Context, reference: str, kind: Quantization | None
) -> ModelFiles:
    found = ModelFiles(model=reference, format="gguf" if kind else "huggingface", quantization=kind)
    checkpoint = bases.checkpoint(session, context, reference)
    path = checkpoint
    if checkpoint is not None and kind is not None:
        loads = engine_files.ready(session, context, "llama.cpp", kind, checkpoint)
        path = Path(loads["gguf_path"]) if loads else None
    if path is None:
        found.preparation = bases.preparation(session, context, reference)
        return found
    found.path, found.bytes = str(path), _bytes(path)
    return found


def _bytes(path: Path) -> int:
    """Of a file, or of everything in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
