"""What a terminal shows: live progress, and two answers side by side."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest

from phoundry.cli.chat import answer
from phoundry.cli.output import Format, Printer
from phoundry.cli.progress import displayed


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


class Saying:
    """A partner that says two pieces."""

    def __init__(self, name: str, *pieces: str) -> None:
        self.name = name
        self.pieces = pieces

    def ask(self, text: str) -> object:
        return iter(self.pieces)

    def reset(self) -> None: ...


@contextmanager
def on(screen: Screen) -> Iterator[None]:
    # Around the call itself: pytest puts its own streams in place after the fixtures.
    with redirect_stdout(screen), redirect_stderr(screen):
        yield


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    return Screen()


def test_final_lines_stay_and_passing_ones_are_shown(screen: Screen) -> None:
    with on(screen), displayed(Printer(Format.table)) as show:
        show("✓ Check the data: 10 [conversations]", None)
        show("▸ Fine-tune: step 1/2 [loss]", "train")
    text = screen.getvalue()
    assert "✓ Check the data: 10 [conversations]\n" in text
    assert "Fine-tune: step 1/2 [loss]" in text
    assert "\x1b[3" not in text, "NO_COLOR is set"


def test_with_json_nothing_is_shown(screen: Screen) -> None:
    with on(screen), displayed(Printer(Format.json)) as show:
        show("✓ Check the data", None)
        show("▸ Fine-tune", "train")
    assert screen.getvalue() == ""


def test_lines_about_the_same_thing_are_not_repeated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with displayed(Printer(Format.table)) as show:
        for line, about in [("a 1", "a"), ("a 2", "a"), ("b 1", "b"), ("end", None), ("b 2", "b")]:
            show(line, about)
    assert capsys.readouterr().err.splitlines() == ["a 1", "b 1", "end", "b 2"]


def test_two_answers_stand_side_by_side(screen: Screen) -> None:
    partners = [Saying("tuned", "in ", "[blue]"), Saying("base", "in ", "red")]
    with on(screen):
        answer(partners, "Where?")  # type: ignore[arg-type]
    last = screen.getvalue().rsplit("\x1b[2K", 1)[-1]
    titles = next(line for line in last.splitlines() if "tuned" in line)
    texts = next(line for line in last.splitlines() if "in red" in line)
    assert titles.index("tuned") < titles.index("base")
    assert texts.index("in [blue]") < texts.index("in red")
