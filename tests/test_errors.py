from __future__ import annotations

import pytest

from phoundry.errors import (
    Fault,
    InvalidInput,
    NotFound,
    PhoundryError,
    from_dict,
    nearest,
    tree,
)


def test_every_error_has_a_code_of_its_own() -> None:
    found = tree()
    assert len(found) == len({kind.code for kind in found.values()})
    assert {"InvalidInput", "NotFound", "Conflict", "Unavailable"} <= set(found)


def test_all_faults_come_at_once_up_to_a_bound() -> None:
    faults = [Fault(f"faq.jsonl:{line}", "not JSON") for line in range(1, 51)]
    error = InvalidInput("50 rows cannot be used.", faults=faults, total=70, remedy="Mend them.")
    lines = str(error).splitlines()
    assert lines[1] == "  faq.jsonl:1: not JSON"
    assert len(lines) == 1 + InvalidInput.shown + 2
    assert lines[-2] == "  … and 50 more"
    assert lines[-1] == "Mend them."


@pytest.mark.parametrize(
    "error",
    [
        NotFound("There is no model 'x'.", remedy="Look."),
        InvalidInput("Bad.", faults=[Fault("a:1", "b")], total=3, remedy="Mend it."),
        PhoundryError("Odd."),
    ],
)
def test_an_error_survives_the_wire(error: PhoundryError) -> None:
    back = from_dict(error.to_dict())
    assert type(back) is type(error)
    assert str(back) == str(error)


def test_nearest_names_come_first() -> None:
    known = ["smollm2-135m-instruct", "phi-3-mini-4k-instruct", "qwen3-0.6b"]
    assert nearest("smolm2-135m-instruct", known)[0] == "smollm2-135m-instruct"
    assert nearest("phi-3-mini", known) == ["phi-3-mini-4k-instruct"]
    assert nearest("zzz", known) == []
