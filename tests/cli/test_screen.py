"""What others wrote is shown on a terminal and never obeyed by it."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.cli.output import Format, Printer
from phoundry.cli.screen import escaped, visible
from tests.cli.conftest import Shell
from tests.cli.test_chat import faq as faq
from tests.client.fake_api import FakeApi

# Clear the screen; set the clipboard; the same by one C1 character; delete what stands there.
ATTACK = "\x1b[2J\x1b]52;c;ZXZpbA==\x07\x9b2J\x7f\b"


def harmless(text: str) -> bool:
    return all(unicodedata.category(char) != "Cc" or char in "\n\t" for char in text)


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    assert harmless(visible(text))
    visible(text).encode()


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_other_text_stays_as_it_is(text: str) -> None:
    assert visible(text + "\n\t") == text + "\n\t"


@given(st.text())
def test_an_escaped_document_is_the_same_document(text: str) -> None:
    document = escaped(json.dumps({text: [text]}, ensure_ascii=False))
    assert json.loads(json.dumps({text: [text]})) == json.loads(document.encode())
    assert harmless(document)


@pytest.mark.parametrize("chosen", list(Format))
def test_every_format_is_harmless(chosen: Format, capsys: pytest.CaptureFixture[str]) -> None:
    Printer(chosen).value({"description": ATTACK, "tags": {"a": [ATTACK]}})
    printed = capsys.readouterr().out
    assert "2J" in printed
    assert harmless(printed)


def test_an_answer_is_text(shell: Shell, faq: FakeApi) -> None:
    faq.answers = ["Hel", ATTACK, "lo."]
    assert shell("chat", "faq", "-m", "Hi?").out == "Hel␛[2J␛]52;c;ZXZpbA==␇\ufffd2J␡␈lo.\n"
    asked = shell("chat", "faq", "-m", "Hi?", "-o", "json")
    assert asked.json["answers"][0]["answer"] == f"Hel{ATTACK}lo."
    assert harmless(asked.out)


def test_a_log_is_text(shell: Shell, api: FakeApi) -> None:
    shell("job", "create", "--set", "name=j", "--set", "model=m", "--set", "training_data=d")
    api.log = f"step 1{ATTACK}\n"
    api.job_states = [{"status": "Completed"}]
    done = shell("job", "logs", "j")
    assert "2J" in done.out
    assert harmless(done.out)


@pytest.mark.parametrize("format_", ["table", "json"])
def test_what_an_error_quotes_is_text(shell: Shell, tmp_path: Path, format_: str) -> None:
    data = tmp_path / "bad.jsonl"
    row = {"messages": [{"role": f"us{ATTACK}er", "content": "Q"}]}
    data.write_text(json.dumps(row) + "\n")
    for words in (("faq", "--source", str(data)), ("faq", "--source", f"no{ATTACK}where")):
        done = shell("data", "create", *words, "-o", format_)
        assert done.code == 1
        assert "2J" in done.err
        assert harmless(done.out + done.err)


def test_a_command_that_is_none_is_text(shell: Shell) -> None:
    done = shell(ATTACK)
    assert done.code == 2
    assert harmless(done.err)
