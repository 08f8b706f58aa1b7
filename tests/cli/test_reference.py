from __future__ import annotations

from pathlib import Path

from phoundry.cli.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def test_the_reference_is_what_the_commands_say() -> None:
    assert PAGE.read_text() == reference(), (
        "run: python -m phoundry.cli.reference > docs/reference/cli.md"
    )
