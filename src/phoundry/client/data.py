"""Data assets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from phoundry.client.transport import Transport, segment
from phoundry.errors import NotFound, UsageError
from phoundry.specs.data import DataAsset
from phoundry.specs.names import split_version


class Data:
    """`client.data`"""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self, name: str, source: Path | str, *, test_size: float = 0.2, seed: int = 42
    ) -> DataAsset:
        """Check, split and keep the JSONL file `source` as the next version of `name`.

        Raises:
            InvalidInput: with every bad row by its line.
        """
        path = Path(source)
        params = {"name": name, "filename": path.name, "test_size": test_size, "seed": seed}
        try:
            with path.open("rb") as file:
                return self._transport.one(
                    DataAsset, "POST", "/api/data", params=params, content=file
                )
        except FileNotFoundError:
            raise NotFound(
                f"There is no file {path}.", remedy="Give the path of a JSONL file of chats."
            ) from None
        except IsADirectoryError:
            raise UsageError(f"{path} is a folder.", remedy="Give one JSONL file.") from None

    def show(self, reference: str) -> DataAsset:
        """`NAME` (the newest version) or `NAME:VERSION`."""
        name, version = split_version(reference)
        return self._transport.one(
            DataAsset, "GET", f"/api/data/{segment(name)}", params={"version": version}
        )

    def rows(
        self, reference: str, *, split: Literal["train", "test"] = "train", limit: int = 10
    ) -> Sequence[dict[str, Any]]:
        """The first `limit` conversations of a split, as `{"messages": […]}`."""
        name, version = split_version(reference)
        params = {"version": version, "split": split, "limit": limit}
        return self._transport.request("GET", f"/api/data/{segment(name)}/rows", params=params)

    def list(self) -> Sequence[DataAsset]:
        return self._transport.many(DataAsset, "/api/data")
