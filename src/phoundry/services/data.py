"""Data assets."""

from __future__ import annotations

import hashlib
import json
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import select

from phoundry.data import Checked, Row, check_messages, split, to_jsonl
from phoundry.errors import NotFound
from phoundry.services.context import Context
from phoundry.services.rows import find, get, names
from phoundry.specs.data import DataAsset, DataSpec
from phoundry.specs.names import split_version
from phoundry.store.tables import DataAssetRow


def create(context: Context, spec: DataSpec, content: bytes) -> DataAsset:
    """Check, split and keep `content` (messages JSONL) as the next version of `spec.name`.

    The same content with the same split makes no second version: the present one is returned.

    Raises:
        InvalidInput: with every bad row.
    """
    with context.begin("data/read") as session:
        digest = hashlib.sha256(content).hexdigest()
        newest = find(session, context, DataAssetRow, spec.name)
        if newest and _same(newest, digest, spec):
            return view(newest)
    checked = _read(spec.filename, content)
    parts = split(checked.rows, spec.test_size, spec.seed)
    kept = {
        "train": _keep(context, parts.train),
        "test": _keep(context, parts.test) if parts.test else None,
    }
    with context.begin("data/write") as session:
        newest = find(session, context, DataAssetRow, spec.name)
        if newest and _same(newest, digest, spec):
            return view(newest)  # the same call came twice at once
        row = DataAssetRow(
            workspace=context.workspace,
            name=spec.name,
            version=newest.version + 1 if newest else 1,
            filename=spec.filename,
            sha256=digest,
            test_size=spec.test_size,
            seed=spec.seed,
            description=spec.description,
            tags=dict(spec.tags),
            **kept,
        )
        session.add(row)
        session.flush()
        return view(row).model_copy(update={"notices": list(checked.notices)})


def listing(context: Context) -> list[DataAsset]:
    """Every version of every asset, newest first."""
    with context.begin("data/read") as session:
        query = select(DataAssetRow).filter_by(workspace=context.workspace)
        return [view(row) for row in session.scalars(query.order_by(DataAssetRow.id.desc()))]


def show(context: Context, reference: str) -> DataAsset:
    """The asset that `NAME` (its newest version) or `NAME:VERSION` names. Raises NotFound."""
    name, version = split_version(reference)
    with context.begin("data/read") as session:
        if version is None:
            remedy = "`phoundry data list` shows what there is; `phoundry data create` adds one."
            row = get(session, context, DataAssetRow, name, noun="data asset", remedy=remedy)
            return view(row)
        row = None
        if version.isdigit():
            row = find(session, context, DataAssetRow, name, version=int(version))
        if row is None and name in names(session, context, DataAssetRow):
            newest = find(session, context, DataAssetRow, name)
            raise NotFound(
                f"Data asset '{name}' has no version '{version}'.",
                remedy=f"Its newest is {name}:{newest.version if newest else 1}.",
            )
        row = row or get(session, context, DataAssetRow, name, noun="data asset")
        return view(row)


def rows(context: Context, reference: str, *, part: str, limit: int) -> list[dict[str, Any]]:
    """The first `limit` conversations of the `train` or `test` split."""
    path = split_path(context, show(context, reference), part)
    if path is None:
        return []
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in islice(file, limit)]


def split_path(context: Context, asset: DataAsset, part: str) -> Path | None:
    """Where a split's JSONL is, or None where the asset has no such split."""
    chosen = asset.train if part == "train" else asset.test
    return context.blobs.path(chosen.sha256) if chosen else None


def view(row: DataAssetRow) -> DataAsset:
    return DataAsset.model_validate(
        {
            **{key: getattr(row, key) for key in DataAsset.model_fields if hasattr(row, key)},
            "version": str(row.version),
        }
    )


def _same(row: DataAssetRow, digest: str, spec: DataSpec) -> bool:
    return (row.sha256, row.test_size, row.seed) == (digest, spec.test_size, spec.seed)


def _read(filename: str, content: bytes) -> Checked:
    """The conversations of `content`; the checker reads files, so it is given one."""
    with tempfile.TemporaryDirectory(prefix="phoundry-") as folder:
        path = Path(folder) / "source.jsonl"
        path.write_bytes(content)
        return check_messages(path, name=filename)


def _keep(context: Context, conversations: list[Row]) -> dict[str, Any]:
    content = to_jsonl(conversations)
    digest = context.blobs.put(content)
    return {"rows": len(conversations), "bytes": len(content), "sha256": digest}
