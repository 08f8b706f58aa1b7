"""Data assets."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from phoundry.client.checking import checked
from phoundry.client.paths import located
from phoundry.client.sources import Progress, files_of, named_source, upload
from phoundry.client.transport import Transport, segment
from phoundry.client.waiting import wait_for
from phoundry.files import atomic_file
from phoundry.specs.data import DataAsset, DataDiff, DataFormat, DataSpec, TokenReport
from phoundry.specs.names import split_version

READING_SECONDS = 3600.0  # millions of rows take minutes
Split = Literal["train", "test", "all"]


class Data:
    """`client.data`"""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        name: str,
        source: Path | str,
        *,
        config: str | None = None,
        split: str | None = None,
        format: DataFormat | None = None,
        mapping: Mapping[str, str] | None = None,
        skip_bad: int = 0,
        test_size: float = 0.2,
        seed: int = 42,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        on_progress: Progress | None = None,
    ) -> DataAsset:
        """Read, check, split and keep `source` as the next version of `name`.

        The same source read in the same way makes no second version: the present one is returned.

        Args:
            source: a file, a folder, a glob, or the id of a data set on the Hugging Face hub.
            config: configuration of a hub data set.
            split: split of a hub data set, as in `train_sft[:1%]`.
            format: what a row looks like; detected unless named.
            mapping: our name of a part (`question`, `answer`, …) to the column that has it.
            skip_bad: so many bad rows may be left out; the asset says which.
            test_size: share of the rows kept for evaluation.
            on_progress: told what happens, with bytes done and in all.

        Raises:
            NotFound: no such file, or nothing that a glob matches.
            InvalidInput: with every bad row by file and line.
            InsufficientResources: the disk is full.
            TooLarge: a file is larger than what may be handed over.
        """
        values = {
            "name": name,
            "source": named_source(str(source)),
            "config": config,
            "split": split,
            "format": format,
            "mapping": dict(mapping or {}),
            "skip_bad": skip_bad,
            "test_size": test_size,
            "seed": seed,
            "description": description,
            "tags": dict(tags or {}),
            # Checked before anything is sent; the files' hashes are known only then.
            "files": [{"filename": str(source), "sha256": "0" * 64}],
        }
        spec = checked(DataSpec, values, "The data asset")
        tell: Progress = on_progress or (lambda what, done, total: None)
        files = files_of(str(source), config, split, self._transport.home.cache, tell)
        spec.files = upload(self._transport, files, tell)
        tell("Reading the rows", 0, 0)
        body = spec.model_dump(mode="json")
        return self._transport.one(
            DataAsset, "POST", "/api/data", json=body, timeout=READING_SECONDS
        )

    def show(self, reference: str) -> DataAsset:
        """`NAME` (the newest version) or `NAME:VERSION`."""
        path, version = _place(reference)
        return self._transport.one(DataAsset, "GET", path, params={"version": version})

    def rows(
        self, reference: str, *, split: Split = "train", limit: int = 10
    ) -> Sequence[dict[str, Any]]:
        """The first `limit` rows of a split, as `{"messages": […]}` or preference pairs."""
        path, version = _place(reference)
        params = {"version": version, "split": split, "limit": limit}
        return self._transport.request("GET", f"{path}/rows", params=params)

    @contextmanager
    def stream(self, reference: str, *, split: Split = "all") -> Generator[Iterator[bytes]]:
        """The rows as JSONL, in pieces, while they come."""
        path, version = _place(reference)
        params = {"version": version, "split": split}
        with self._transport.stream(f"{path}/export", params=params) as pieces:
            yield pieces

    def export(self, reference: str, path: Path | str, *, split: Split = "all") -> Path:
        """Write the rows as JSONL to `path`, all of them or nothing."""
        target = Path(path)
        with self.stream(reference, split=split) as pieces, atomic_file(target) as file:
            for piece in pieces:
                file.write(piece)
        return target

    def diff(self, before: str, after: str, *, limit: int = 3) -> DataDiff:
        """What `after` has that `before` lacks, and the reverse; `limit` rows of each are shown."""
        path, version = _place(before)
        params = {"version": version, "other": after, "limit": limit}
        return self._transport.one(
            DataDiff, "GET", f"{path}/diff", params=params, timeout=READING_SECONDS
        )

    def tokens(
        self,
        reference: str,
        model: str,
        *,
        split: Split = "train",
        limit: int = 3,
        max_tokens: int | None = None,
        on_wait: Callable[[TokenReport], None] | None = None,
    ) -> TokenReport:
        """The rows of a split as `model` sees them, the first `limit` of them token by token.

        Where the model's files are not here they are fetched first, which needs a control plane.

        Args:
            max_tokens: what a row may have, if less than the model takes.
            on_wait: while the model's files are waited for, sees how far they have come.

        Raises:
            InvalidInput: a row that the model's template cannot render, or preference pairs.
        """
        path, version = _place(reference)
        params = {
            "version": version,
            "model": located(model),
            "split": split,
            "limit": limit,
            "max_tokens": max_tokens,
        }

        def ask(**more: bool) -> TokenReport:
            return self._transport.one(
                TokenReport,
                "GET",
                f"{path}/tokens",
                params=params | more,
                starts="fetch" in more,
                timeout=READING_SECONDS,
            )

        found = ask()
        if found.ready:
            return found
        ask(fetch=True, retry=True)
        return wait_for(
            lambda: ask(fetch=True),
            lambda report: report.ready,
            on_change=on_wait,
            alive=self._transport.running,
            what=f"The model '{model}'",
        )

    def list(self) -> Sequence[DataAsset]:
        """Every version of every asset, newest first."""
        return self._transport.many(DataAsset, "/api/data")

    def delete(self, reference: str) -> Sequence[str]:
        """Remove `NAME:VERSION`, or with `NAME` every version; the references removed.

        Raises:
            Conflict: a job that has not ended uses it.
        """
        path, version = _place(reference)
        return self._transport.request("DELETE", path, params={"version": version})


def _place(reference: str) -> tuple[str, str | None]:
    name, version = split_version(reference)
    return f"/api/data/{segment(name)}", version
