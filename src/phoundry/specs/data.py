"""Data assets: versioned, content-hashed sets of conversations or preference pairs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args

from pydantic import Field

from phoundry.specs.base import Preparation, Spec, View
from phoundry.specs.names import AssetName

# What a row of the source looks like (docs/design/data.md).
DataFormat = Literal[
    "messages", "sharegpt", "alpaca", "prompt-completion", "question-answer", "preference"
]
DATA_FORMATS: tuple[str, ...] = get_args(DataFormat)
# How the source is written.
Container = Literal["jsonl", "json", "csv", "tsv", "parquet"]
# What a row becomes: a conversation, or a prompt with a chosen and a rejected answer.
DataType = Literal["chat", "preference"]


class DataFile(Spec):
    """A file that was handed over before (`POST /api/data/files`)."""

    filename: str = Field(description="As the user calls it, for messages and lineage")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Upload(View):
    """What became of a file that was handed over."""

    sha256: str
    bytes: int


class DataSpec(Spec):
    """`phoundry data create`."""

    name: AssetName
    files: list[DataFile] = Field(min_length=1, description="Read in this order as one set")
    source: str = Field(default="", description="What the user named: a path, a glob, a hub id …")
    config: str | None = Field(default=None, description="Configuration of a hub data set")
    split: str | None = Field(default=None, description="Split of it, as train_sft[:1%]")
    format: DataFormat | None = Field(default=None, description="Detected unless named")
    mapping: dict[str, str] = Field(
        default_factory=dict[str, str], description="Our name of a part to the column that has it"
    )
    skip_bad: int = Field(default=0, ge=0, description="So many bad rows may be left out")
    test_size: float = Field(default=0.2, ge=0, lt=1, description="Share kept for evaluation")
    seed: int = 42
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])


class DataSplit(View):
    """One split, as canonical JSONL in the blob store."""

    rows: int
    bytes: int
    sha256: str


class SkippedRow(View):
    """A bad row that was left out because the user allowed it."""

    where: str = Field(description="file:line")
    reason: str


class DataAsset(View):
    name: str
    version: str
    type: DataType = "chat"
    filename: str
    source: str = ""
    config: str | None = None
    split: str | None = None
    sha256: str = Field(
        description="SHA-256 of the source's bytes; of several files, of their SHA-256s in order"
    )
    format: DataFormat = "messages"
    container: Container = "jsonl"
    mapping: dict[str, str] = Field(default_factory=dict[str, str])
    train: DataSplit
    test: DataSplit | None = None
    test_size: float
    seed: int
    rows_read: int = Field(default=0, description="Rows of the source: kept, skipped, repeated")
    skipped: int = 0
    skipped_rows: list[SkippedRow] = Field(
        default_factory=list[SkippedRow], description="The first hundred of them"
    )
    duplicates: int = Field(default=0, description="Rows that say what an earlier one said")
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    created_at: datetime
    notices: list[str] = Field(default_factory=list[str])


class Change(View):
    """One thing in which two assets differ."""

    field: str
    before: Any = None
    after: Any = None


class DataDiff(View):
    """Two assets compared. A row is the same where its canonical bytes are."""

    before: str
    after: str
    added: int
    removed: int
    kept: int
    moved: int = Field(description="Of the kept, those that changed from one split to the other")
    added_rows: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    removed_rows: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    changes: list[Change] = Field(default_factory=list[Change])


class Token(View):
    """One token of a row. Characters that take several tokens stand with the last of them."""

    id: int
    text: str
    learnt: bool = Field(description="Whether the model learns to say it")


class Bucket(View):
    """Rows of more tokens than the bucket before, and at most `tokens`."""

    tokens: int
    rows: int


class Loss(View):
    """What becomes of the rows over the limit under one of the policies of `truncation`."""

    shortened: int = Field(default=0, description="Rows that lose whole turns, or their end")
    dropped: int = Field(default=0, description="Rows left out: nothing to learn is left")
    refused: int = Field(default=0, description="Rows for which the training is refused")
    cut: int = Field(default=0, description="Tokens that the model does not see")


class TokenReport(View):
    """An asset's rows as one model sees them.

    While the model's files are being fetched, `ready` is false and the rest is empty.
    """

    asset: str
    model: str
    split: str
    ready: bool = True
    preparation: Preparation | None = Field(
        default=None, description="Until it is ready: how far the model's files have come"
    )
    limit: int = Field(default=0, description="Tokens that a row may have")
    limit_of: str = Field(default="", description="Who says so: the model, or the user")
    rows: int = 0
    tokens: int = Field(default=0, description="Of all rows, whole")
    learnt: int = Field(default=0, description="Of these, those that the model learns to say")
    p50: int = 0
    p95: int = 0
    longest: int = 0
    too_long: int = Field(default=0, description="Rows over the limit")
    shortened: int = Field(default=0, description="Of these, those that lose trailing turns")
    dropped: int = Field(default=0, description="Of these, those left out: no exchange fits")
    losses: dict[str, Loss] = Field(
        default_factory=dict[str, Loss], description="By policy of `truncation`, if any is too long"
    )
    buckets: list[Bucket] = Field(default_factory=list[Bucket])
    examples: list[list[Token]] = Field(default_factory=list[list[Token]])
    notices: list[str] = Field(default_factory=list[str])
