from __future__ import annotations

from pathlib import Path

from phoundry.specs.reference import PAGES, reference

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "files.md"


def test_the_reference_is_what_the_specs_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "run: python -m phoundry.specs.reference > docs/reference/files.md"
    )


def test_every_key_of_every_file_is_listed() -> None:
    page = reference()
    for kind in PAGES.values():
        for name, field in kind.model_fields.items():
            assert f"| `{field.serialization_alias or name}` |" in page
