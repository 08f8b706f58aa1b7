"""Flows that are made from templates load, run, and replace nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.errors import Conflict, NotFound, UsageError
from phoundry.flows import chat_roles, init_flow, load_flow
from phoundry.flows.templates import template_names


def test_every_template_loads(tmp_path: Path) -> None:
    assert template_names() == ["chat", "evaluation", "python"]
    for name in template_names():
        load_flow(init_flow(tmp_path / name, name))


def test_the_python_template_runs(tmp_path: Path) -> None:
    flow = load_flow(init_flow(tmp_path / "f", "python"))
    assert flow(text="a  b c") == {"result": "3 words: a b c"}


def test_the_chat_template_has_its_roles_and_what_it_was_given(tmp_path: Path) -> None:
    flow = load_flow(init_flow(tmp_path / "f", connection="faq", model="m", system="Say {{this}}."))
    roles = chat_roles(flow, None)
    assert (roles.input, roles.output, roles.history) == ("question", "answer", "chat_history")
    node = flow.node("chat")
    assert node is not None
    assert node.connection == "faq"
    assert "Say {{this}}." in (tmp_path / "f" / "chat.jinja2").read_text()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(Conflict, match="not empty"):
        init_flow(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    init_flow(tmp_path, force=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(Conflict, match="is a file"):
        init_flow(tmp_path / "notes.txt")


def test_an_unknown_template_or_option(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="Did you mean chat"):
        init_flow(tmp_path / "f", "chatt")
    with pytest.raises(UsageError, match="--connection"):
        init_flow(tmp_path / "f", "python", connection="c")
    assert not (tmp_path / "f").exists()
