"""Tokenizers of both styles, made once, and the writing of data files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phoundry.data import ChatTokenizer
from tests.support.tiny_tokenizer import make_tiny_tokenizer

WriteRows = Callable[..., Path]


@pytest.fixture(scope="session")
def chatml_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_tokenizer(tmp_path_factory.mktemp("tokenizers") / "chatml", "chatml").folder


@pytest.fixture(scope="session")
def phi3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizers") / "phi3"
    return make_tiny_tokenizer(folder, "phi3", rstrip=True).folder


@pytest.fixture(scope="session")
def chatml(chatml_folder: Path) -> ChatTokenizer:
    return ChatTokenizer.load(chatml_folder)


@pytest.fixture(scope="session")
def phi3(phi3_folder: Path) -> ChatTokenizer:
    return ChatTokenizer.load(phi3_folder)


@pytest.fixture
def write_rows(tmp_path: Path) -> WriteRows:
    """`write_rows(row, b"raw line", …)` makes faq.jsonl of them, a line each."""

    def write(*rows: Any, name: str = "faq.jsonl", end: bytes = b"\n") -> Path:
        lines = [
            row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode()
            for row in rows
        ]
        path = tmp_path / name
        path.write_bytes(b"".join(line + end for line in lines))
        return path

    return write
