from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phoundry.data import ChatTokenizer
from phoundry.data.checkpoint import read_tokenizer_files
from phoundry.errors import InvalidInput, NotFound
from tests.data.chats import chat

Edit = Callable[..., None]


@pytest.fixture
def folder(chatml_folder: Path, tmp_path: Path) -> Path:
    """A tokenizer's folder of this test's own."""
    return Path(shutil.copytree(chatml_folder, tmp_path / "mine"))


def edit(path: Path, **values: Any) -> None:
    """Set these keys of a JSON file; None takes one out."""
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    content |= values
    path.write_text(json.dumps({key: v for key, v in content.items() if v is not None}))


def test_generation_config_wins_and_may_have_several_ids(folder: Path) -> None:
    edit(folder / "config.json", eos_token_id=0)
    assert read_tokenizer_files(folder).eos_ids == {2}
    edit(folder / "generation_config.json", eos_token_id=[2, 0])
    assert read_tokenizer_files(folder).eos_ids == {0, 2}


def test_config_json_and_then_the_tokenizer_stand_in(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    edit(folder / "config.json", eos_token_id=[0])
    assert read_tokenizer_files(folder).eos_ids == {0}
    (folder / "config.json").unlink()
    assert read_tokenizer_files(folder).eos_ids == {2}
    edit(folder / "tokenizer_config.json", eos_token={"content": "<|endoftext|>", "lstrip": False})
    assert read_tokenizer_files(folder).eos_ids == {0}


def test_the_token_after_an_answer_ends_a_turn_too(folder: Path) -> None:
    edit(folder / "generation_config.json", eos_token_id=0)
    tokenizer = ChatTokenizer.load(folder)
    assert (tokenizer.end_token_id, tokenizer.end_token_ids) == (2, (0, 2))


@pytest.mark.parametrize("several", [False, True])
def test_the_template_may_stand_in_the_tokenizer_config(folder: Path, several: bool) -> None:
    expected = ChatTokenizer.load(folder).render_text(chat("Q", "A"), True)
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    named = [{"name": "rag", "template": "no"}, {"name": "default", "template": template}]
    edit(folder / "tokenizer_config.json", chat_template=named if several else template)
    assert ChatTokenizer.load(folder).render_text(chat("Q", "A"), True) == expected


def test_no_template_is_told(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InvalidInput, match="mine has no chat template"):
        ChatTokenizer.load(folder)


def test_no_tokenizer_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"has no tokenizer\.json"):
        ChatTokenizer.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("tokenizer.json", b"{}", "is not a tokenizer"),
        ("tokenizer_config.json", b"{", "is not JSON"),
        ("generation_config.json", b"[]", "holds no JSON object"),
        ("chat_template.jinja", b"\xff", "is not UTF-8 at byte 0"),
    ],
)
def test_a_broken_file_is_named(folder: Path, name: str, content: bytes, reason: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=f"{name} {reason}"):
        ChatTokenizer.load(folder)


def test_truncation_and_padding_of_the_file_are_not_ours(folder: Path) -> None:
    tokenizer = ChatTokenizer.load(folder)
    text = "Who founded Microsoft? " * 20
    expected = tokenizer.encode(text)
    raw = json.loads((folder / "tokenizer.json").read_text())
    raw["truncation"] = {
        "max_length": 8,
        "strategy": "LongestFirst",
        "stride": 0,
        "direction": "Right",
    }
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    assert ChatTokenizer.load(folder).encode(text) == expected


def test_padding_id(folder: Path) -> None:
    assert ChatTokenizer.load(folder).pad_id == 2
    edit(folder / "tokenizer_config.json", pad_token=None)
    edit(folder / "generation_config.json", eos_token_id=[0, 2])
    assert ChatTokenizer.load(folder).pad_id == 0
