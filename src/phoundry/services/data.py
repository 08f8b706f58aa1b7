"""Data assets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.data import RowReader, SourceFile, open_rows
from phoundry.errors import Conflict, InvalidInput, NotFound
from phoundry.services import intake, uploads
from phoundry.services.context import Context, record
from phoundry.services.rows import find, get, names
from phoundry.services.space import room_for
from phoundry.specs.data import DataAsset, DataSpec
from phoundry.specs.job import FINISHED
from phoundry.specs.names import split_version
from phoundry.store.tables import DataAssetRow, EventRow, JobRow

Part = Literal["train", "test", "all"]
_REMEDY = "`phoundry data list` shows what there is; `phoundry data create` adds one."
PIECE = 1 << 20  # bytes of an export that are in memory at once


def create(
    context: Context, spec: DataSpec, stopped: Callable[[], bool] = lambda: False
) -> DataAsset:
    """Read, check, split and keep the files of `spec` as the next version of `spec.name`.

    The files were handed over before (`uploads.receiving`), and are used up by this, whatever comes
    of it. The same bytes read and split in the same way make no second version: the present one
    is returned.

    Raises:
        InvalidInput: what cannot be read, or every bad row.
        NotFound: a file was not handed over.
        InsufficientResources: the disk is full.
        Cancelled: `stopped` has become true.
    """
    with context.begin("data/write"):
        pass  # before anything is read
    with uploads.taken_up(context, spec.files) as (folder, taken_up):
        files = [
            SourceFile(path, file.filename) for path, file in zip(taken_up, spec.files, strict=True)
        ]
        reader = open_rows(files, format=spec.format, mapping=spec.mapping or None)
        with context.begin("data/read") as session:
            if same := _same(session, context, spec, reader):
                return view(same)
        needed = 2 * sum(path.stat().st_size for path in taken_up)
        with room_for(f"The data asset '{spec.name}'", context.home.root, needed):
            taken = intake.take(reader, spec, _filename(spec), folder, stopped)
            kept = {
                "train": _keep(context, taken.train),
                "test": _keep(context, taken.test) if taken.test else None,
            }
        with context.begin("data/write") as session:
            if same := _same(session, context, spec, reader):
                return view(same)  # the same call came twice at once
            return _add(session, context, spec, reader, taken, kept)


def _add(
    session: Session,
    context: Context,
    spec: DataSpec,
    reader: RowReader,
    taken: intake.Taken,
    kept: dict[str, Any],
) -> DataAsset:
    row = DataAssetRow(
        workspace=context.workspace,
        name=spec.name,
        version=_next_version(session, context, spec.name),
        type=reader.type,
        filename=_filename(spec),
        source=spec.source,
        config=spec.config,
        split=spec.split,
        sha256=_digest(spec),
        format=reader.format,
        container=reader.container,
        mapping=dict(reader.mapping),
        test_size=spec.test_size,
        seed=spec.seed,
        rows_read=taken.rows_read,
        skipped=taken.skipped,
        skipped_rows=[each.model_dump() for each in taken.skipped_rows],
        duplicates=taken.duplicates,
        notices=taken.notices,
        description=spec.description,
        tags=dict(spec.tags),
        **kept,
    )
    session.add(row)
    session.flush()
    return view(row)


def listing(context: Context) -> list[DataAsset]:
    """Every version of every asset, newest first."""
    with context.begin("data/read") as session:
        query = select(DataAssetRow).filter_by(workspace=context.workspace)
        return [view(row) for row in session.scalars(query.order_by(DataAssetRow.id.desc()))]


def show(context: Context, reference: str) -> DataAsset:
    """The asset that `NAME` (its newest version) or `NAME:VERSION` names. Raises NotFound."""
    with context.begin("data/read") as session:
        return view(_get(session, context, reference))


def rows(context: Context, reference: str, *, part: Part, limit: int) -> list[dict[str, Any]]:
    """The first `limit` rows of a split."""
    with context.begin("data/read") as session:
        asset = view(_get(session, context, reference))
    return list(islice(parsed(context, asset, part), limit))


def parsed(context: Context, asset: DataAsset, part: Part) -> Iterator[dict[str, Any]]:
    """The rows of a split, or of both, one at a time."""
    return (json.loads(line) for line in lines(context, asset, part))


def lines(context: Context, asset: DataAsset, part: Part) -> Iterator[bytes]:
    """The canonical lines of a split, or of both, one at a time."""
    for path in paths(context, asset, part):
        with path.open("rb") as file:
            yield from file


def export(context: Context, reference: str, *, part: Part) -> Iterator[bytes]:
    """The canonical JSONL of a split, or of both, in pieces. Raises NotFound at once."""
    chosen = paths(context, show(context, reference), part)

    def pieces() -> Iterator[bytes]:
        for path in chosen:
            with path.open("rb") as file:
                while piece := file.read(PIECE):
                    yield piece

    return pieces()


def delete(context: Context, reference: str) -> list[str]:
    """Remove `NAME:VERSION`, or with `NAME` alone every version; the references removed.

    Their rows are freed by the next `phoundry prune`. A version's number is never used again.

    Raises:
        NotFound: there is no such asset.
        Conflict: a job that has not ended uses it.
    """
    name, version = split_version(reference)
    with context.begin("data/delete") as session:
        found = [_get(session, context, reference)]
        if version is None:
            query = select(DataAssetRow).filter_by(workspace=context.workspace, name=name)
            found = list(session.scalars(query.order_by(DataAssetRow.version)))
        removed = [f"{row.name}:{row.version}" for row in found]
        _check_unused(session, context, removed)
        for row in found:
            message = f"{row.name}:{row.version} was deleted."
            fields = {"version": row.version, "sha256": row.sha256}
            record(session, context, f"data/{name}", "deleted", message, **fields)
            session.delete(row)
        return removed


def split_path(context: Context, asset: DataAsset, part: str) -> Path | None:
    """Where a split's JSONL is, or None where the asset has no such split.

    Raises:
        NotFound, Conflict: its bytes are missing, or no longer what they were.
    """
    chosen = asset.train if part == "train" else asset.test
    return context.blobs.intact(chosen.sha256) if chosen else None


def paths(context: Context, asset: DataAsset, part: Part) -> list[Path]:
    """Where the JSONL of a split is, or of both; none where the asset has no such split."""
    parts = ("train", "test") if part == "all" else (part,)
    return [path for each in parts if (path := split_path(context, asset, each))]


def check_chats(asset: DataAsset) -> None:
    """Raise InvalidInput unless the asset holds conversations."""
    if asset.type != "chat":
        raise InvalidInput(
            f"{asset.name}:{asset.version} holds preference pairs, and conversations are needed.",
            remedy="Make an asset of conversations: `phoundry data create NAME --source SOURCE`.",
        )


def view(row: DataAssetRow) -> DataAsset:
    return DataAsset.model_validate(
        {
            **{key: getattr(row, key) for key in DataAsset.model_fields if hasattr(row, key)},
            "version": str(row.version),
        }
    )


def _get(session: Session, context: Context, reference: str) -> DataAssetRow:
    name, version = split_version(reference)
    if version is not None and version.isdigit():
        row = find(session, context, DataAssetRow, name, version=int(version))
        if row is not None:
            return row
    if version is not None and name in names(session, context, DataAssetRow):
        newest = find(session, context, DataAssetRow, name)
        raise NotFound(
            f"Data asset '{name}' has no version '{version}'.",
            remedy=f"Its newest is {name}:{newest.version if newest else 1}.",
        )
    return get(session, context, DataAssetRow, name, noun="data asset", remedy=_REMEDY)


def _same(
    session: Session, context: Context, spec: DataSpec, reader: RowReader
) -> DataAssetRow | None:
    """The newest version, if creating `spec` would make the very same again."""
    row = find(session, context, DataAssetRow, spec.name)
    if row is None or row.skipped > spec.skip_bad:
        return None
    wanted = (_digest(spec), spec.test_size, spec.seed, reader.format, dict(reader.mapping))
    made = (row.sha256, row.test_size, row.seed, row.format, row.mapping)
    return row if made == wanted else None


def _next_version(session: Session, context: Context, name: str) -> int:
    """One more than the highest there ever was: a version's bytes never change."""
    newest = find(session, context, DataAssetRow, name)
    query = select(EventRow).filter_by(
        workspace=context.workspace, resource=f"data/{name}", kind="deleted"
    )
    deleted = [int(event.data["version"]) for event in session.scalars(query)]
    return max([newest.version if newest else 0, *deleted]) + 1


def _check_unused(session: Session, context: Context, references: list[str]) -> None:
    query = select(JobRow).filter_by(workspace=context.workspace)
    for job in session.scalars(query.where(JobRow.status.not_in(FINISHED))):
        used = (job.spec.get("training_data"), job.spec.get("validation_data"))
        if taken := [reference for reference in references if reference in used]:
            raise Conflict(
                f"Job '{job.name}' ({job.status}) uses {', '.join(taken)}.",
                remedy=f"Wait for it, or `phoundry job cancel {job.name}` first.",
            )


def _digest(spec: DataSpec) -> str:
    if len(spec.files) == 1:
        return spec.files[0].sha256
    return hashlib.sha256("".join(file.sha256 for file in spec.files).encode()).hexdigest()


def _filename(spec: DataSpec) -> str:
    shown = ", ".join(file.filename for file in spec.files[:3])
    return shown if len(spec.files) <= 3 else f"{shown} and {len(spec.files) - 3} more"


def _keep(context: Context, part: intake.Part) -> dict[str, Any]:
    size = part.path.stat().st_size
    return {"rows": part.rows, "bytes": size, "sha256": context.blobs.put_file(part.path)}
