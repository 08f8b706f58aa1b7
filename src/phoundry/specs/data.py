"""Data assets: versioned, content-hashed sets of conversations."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from phoundry.specs.base import Spec, View
from phoundry.specs.names import AssetName


class DataSpec(Spec):
    """`phoundry data create`."""

    name: AssetName
    filename: str = Field(description="Name of the source, for messages and lineage")
    test_size: float = Field(default=0.2, ge=0, lt=1, description="Share kept for evaluation")
    seed: int = 42
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])


class DataSplit(View):
    """One split, as messages JSONL in the blob store."""

    rows: int
    bytes: int
    sha256: str


class DataAsset(View):
    name: str
    version: str
    type: str = "chat"
    filename: str
    sha256: str = Field(description="SHA-256 of the source file's bytes")
    train: DataSplit
    test: DataSplit | None = None
    test_size: float
    seed: int
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    created_at: datetime
    notices: list[str] = Field(default_factory=list[str], description="Said once, at creation")
