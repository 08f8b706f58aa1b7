"""`phoundry data`, over the real services in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Shell


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    file = tmp_path / "faq.jsonl"
    turns = ("user", "assistant")
    rows = [
        {"messages": [{"role": role, "content": f"{role} {row}"} for role in turns]}
        for row in range(10)
    ]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


def test_create_list_show(shell: Shell, chats: Path) -> None:
    made = shell("data", "create", "faq", "--source", str(chats), "--test-size", "0.3")
    assert made.code == 0
    assert "Next: phoundry train smollm2-135m-instruct faq:1" in made.err
    listed = shell("data", "list", "-o", "json")
    assert [(each["name"], each["train"]["rows"]) for each in listed.json] == [("faq", 7)]
    assert listed.err == ""
    table = shell("data", "list").out.splitlines()
    assert table[0].split()[:3] == ["NAME", "TRAIN", "TEST"]
    assert table[1].split()[:3] == ["faq:1", "7", "3"]
    shown = shell("data", "show", "faq", "--rows", "2", "-o", "yaml")
    assert shown.out.count("role: assistant") == 2


def test_every_bad_row_is_reported_and_nothing_is_kept(shell: Shell, chats: Path) -> None:
    lines = chats.read_text().splitlines()
    lines[2], lines[6] = '{"messages": []}', "no json"
    chats.write_text("\n".join(lines))
    outcome = shell("data", "create", "faq", "--source", str(chats))
    assert outcome.code == 1
    assert "faq.jsonl:3:" in outcome.err
    assert "faq.jsonl:7:" in outcome.err
    assert shell("data", "list", "-o", "json").json == []


def test_an_empty_list_says_what_to_do(shell: Shell) -> None:
    outcome = shell("data", "list")
    assert (outcome.code, outcome.out) == (0, "")
    assert "phoundry data create" in outcome.err
