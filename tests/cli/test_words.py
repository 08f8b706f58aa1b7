"""What stands on a command line and how it is read."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.cli.arguments import assignments, deployment_reference, traffic
from phoundry.cli.commands import spread
from phoundry.cli.output import Format, chosen_format, duration, sheet, table
from phoundry.cli.targets import temporary_name
from phoundry.cli.up import name_of
from phoundry.client.checking import checked
from phoundry.errors import UsageError
from phoundry.specs.endpoint import EndpointSpec

NAMES = st.text(string.ascii_letters, min_size=1)


@given(st.dictionaries(NAMES, st.text()))
def test_assignments_keep_every_value_whole(values: dict[str, str]) -> None:
    assert assignments([f"{k}={v}" for k, v in values.items()], "--set") == values


@pytest.mark.parametrize("word", ["name", "=value", ""])
def test_a_word_that_assigns_nothing_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        assignments([word], "--set")


@pytest.mark.parametrize(
    "words",
    [["blue=90,green=10"], ["blue=90 green=10"], ["blue=90", "green=10"], ["blue=90%, green=10%"]],
)
def test_traffic_is_read_as_azure_and_people_write_it(words: list[str]) -> None:
    assert traffic(words) == {"blue": 90, "green": 10}


@given(st.text())
def test_traffic_is_whole_percents_or_a_usage_error(text: str) -> None:
    try:
        shares = traffic([text])
    except UsageError:
        return
    assert shares
    assert all(isinstance(share, int) for share in shares.values())


@pytest.mark.parametrize("text", ["", " ", ",", "blue=\u00b2", "blue=--5", "blue=5-", "blue=%"])
def test_traffic_that_is_no_share_moves_nothing(text: str) -> None:
    with pytest.raises(UsageError, match="--traffic"):
        traffic([text])


def test_a_deployment_is_named_with_or_without_its_endpoint() -> None:
    assert deployment_reference("faq/blue", None) == ("faq", "blue")
    assert deployment_reference("blue", "faq") == ("faq", "blue")
    with pytest.raises(UsageError, match="--endpoint"):
        deployment_reference("blue", None)
    with pytest.raises(UsageError, match="another endpoint"):
        deployment_reference("faq/blue", "other")


@given(st.lists(NAMES.map(lambda name: f"{name}=1"), min_size=1), NAMES)
def test_several_values_after_one_option(values: list[str], argument: str) -> None:
    words = ["PATH", "--set", *values, argument]
    expected = [part for value in values for part in ("--set", value)]
    assert spread(words, {"--set"}) == ["PATH", *expected, argument]


@given(st.lists(st.text()))
def test_other_words_stay_as_they_are(words: list[str]) -> None:
    kept = [word for word in words if word != "--set"]
    assert spread(kept, {"--set"}) == kept
    assert spread(["--", "--set", *kept], {"--set"}) == ["--", "--set", *kept]


@given(st.text(string.printable, min_size=1).filter(lambda text: text.strip("./ ")))
def test_a_file_name_becomes_a_name_that_endpoints_take(text: str) -> None:
    name = name_of(Path(text.replace("/", "") + ".jsonl"))
    assert checked(EndpointSpec, {"name": name}, "it").name == name
    made = temporary_name(text)
    assert checked(EndpointSpec, {"name": made}, "it").name == made


def test_readable_file_names_stay_readable() -> None:
    assert name_of(Path("faq-en.jsonl")) == "faq-en"
    assert name_of(Path("my chats (1).jsonl")) == "my-chats-1"
    assert name_of(Path("2024.jsonl")) == "data-2024"


def test_the_format_is_found_before_parsing() -> None:
    assert chosen_format(["x", "-o", "json"]) is Format.json
    assert chosen_format(["--output=yaml"]) is Format.yaml
    assert chosen_format(["-o"]) is Format.table
    assert chosen_format(["--", "-o", "json"]) is Format.table


def test_columns_are_aligned() -> None:
    lines = table(["name", "state"], [["faq", "Ready"], ["a-long-name", "Failed"]]).splitlines()
    assert lines[0].startswith("NAME")
    assert {
        line.index(word) for line, word in zip(lines, ["STATE", "Ready", "Failed"], strict=True)
    } == {13}


def test_a_sheet_leaves_out_what_is_empty_and_keeps_zeros() -> None:
    text = sheet({"name": "x", "error": None, "tags": {}, "restarts": 0, "traffic": {"blue": 0}})
    assert text.splitlines() == ["name      x", "restarts  0", "traffic   blue = 0"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (125, "2 min 05 s"), (7500, "2 h 05 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
