from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.errors import InvalidInput
from phoundry.specs.job import Choice
from phoundry.training.planning.choices import FILE, Choices, Speed, load_choices, save_choices

SPEED = Speed(
    tokens_per_second=400,
    optimizer_seconds=0.1,
    evaluated_per_second=900,
    written_per_second=1e8,
)
RATES = st.dictionaries(st.text("0123456789", min_size=1), st.floats(0.1, 1e6), max_size=3)


@given(
    st.builds(
        Choices,
        precision=st.sampled_from(["16", "32"]),
        row_tokens=st.integers(1, 10**6),
        recompute=st.booleans(),
        batch=st.none() | st.integers(1, 100),
        entries=st.lists(
            st.builds(Choice, name=st.text(), value=st.text(), why=st.text(), measured=RATES)
        ),
        speed=st.sampled_from([None, SPEED]),
    )
)
def test_what_was_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, made: Choices) -> None:
    folder = tmp_path_factory.mktemp("run")
    save_choices(folder, made)
    assert load_choices(folder) == made


def test_nothing_chosen_yet_is_none(tmp_path: Path) -> None:
    assert load_choices(tmp_path) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"precision": "8", "row_tokens": 1}', "{}"])
def test_a_damaged_file_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(InvalidInput, match="damaged"):
        load_choices(tmp_path)


def test_only_the_arithmetic_counts_for_the_bits() -> None:
    one = Choices(precision="16", row_tokens=512, speed=SPEED)
    other = Choices(precision="16", row_tokens=512, entries=[Choice(name="a", value="b")])
    assert one.arithmetic() == other.arithmetic()
    assert one.arithmetic() != Choices(precision="16", row_tokens=1024).arithmetic()
