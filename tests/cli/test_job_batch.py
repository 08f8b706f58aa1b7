"""`phoundry job create --type batch`, `job download` and `deployment data`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from phoundry.cli.deployment_data import moment_of
from phoundry.cli.job_batch import batch_spec, is_batch
from phoundry.errors import InvalidInput, UsageError
from phoundry.settings import Home
from tests.cli.conftest import Shell
from tests.client.fake_api import FakeApi
from tests.services.test_collected import keep


@pytest.fixture
def batch_file(tmp_path: Path) -> Path:
    (tmp_path / "asked.jsonl").write_text("{}\n")
    path = tmp_path / "batch.yml"
    path.write_text(
        "type: batch\nname: night\nendpoint: faq\ninput: asked.jsonl\n"
        "parameters: {max_tokens: 40, stop: [END]}\nslots: 4\n"
    )
    return path


def test_a_file_options_and_settings_make_one_batch(batch_file: Path) -> None:
    spec = batch_spec(batch_file, {}, None)
    assert spec.input == str(batch_file.parent / "asked.jsonl")
    assert (spec.endpoint, spec.parameters.max_tokens, spec.slots) == ("faq", 40, 4)
    changed = batch_spec(batch_file, {"model": "faq:3"}, ["parameters.max_tokens=9", "slots=2"])
    assert (changed.model, changed.endpoint) == ("faq:3", None)
    assert (changed.parameters.max_tokens, changed.parameters.stop) == (9, ["END"])
    alone = batch_spec(None, {"model": "faq:3", "input": "faq:1"}, None)
    assert (alone.type, alone.input) == ("batch", "faq:1")
    with pytest.raises(InvalidInput) as raised:
        batch_spec(None, {"model": "faq:3"}, ["slots=0"])
    assert {fault.where for fault in raised.value.faults} == {"input", "slots"}


def test_what_type_it_is_must_be_clear(batch_file: Path, tmp_path: Path) -> None:
    tune = tmp_path / "job.yaml"
    tune.write_text("type: finetuning\nmodel: m\ntraining_data: faq:1\n")
    assert is_batch(batch_file, None, {})
    assert is_batch(None, "batch", {})
    assert not is_batch(tune, None, {})
    for file, kind, flags in (
        (None, None, {}),
        (None, "finetuning", {}),
        (tune, "batch", {}),
        (tune, None, {"model": "m"}),
        (None, "sweep", {}),
    ):
        with pytest.raises(UsageError):
            is_batch(file, kind, flags)


def test_bad_yaml_is_told_by_line(shell: Shell, batch_file: Path) -> None:
    batch_file.write_text("type: batch\nendpont: faq\ninput: a\nslots: none\n")
    done = shell("job", "create", "-f", str(batch_file))
    assert done.code == 1
    assert f"{batch_file}:2: unknown key 'endpont'; did you mean endpoint?" in done.err
    assert f"{batch_file}:4: slots:" in done.err


def test_a_batch_is_followed_by_its_lines(shell: Shell, api: FakeApi, batch_file: Path) -> None:
    facts = {"type": "batch", "input": "asked.jsonl"}
    half = {"step": 5, "max_steps": 10, "unit": "line", "failed": 1, "tokens_per_second": 80.0}
    api.job_states = [
        {**facts, "status": "Running", "progress": half},
        {**facts, "status": "Completed", "metrics": {"requests": 10, "failed": 1}},
    ]
    flags = ["--model", "faq:3", "--input", "faq:1", "--stream"]
    done = shell("job", "create", "-f", str(batch_file), *flags)
    assert done.code == 0, done.err
    assert "line 5/10, 1 errors, 80 tokens/s" in done.err
    assert "Next: phoundry job download night" in done.err


def test_what_was_collected_is_printed_or_made_into_rows(shell: Shell, home: Home) -> None:
    keep(home.collected / "faq" / "blue", 1, 2)
    shown = shell("deployment", "data", "faq/blue")
    assert shown.code == 0, shown.err
    assert "user: at 1\n  assistant: yes" in shown.out
    rows = [
        json.loads(line)
        for line in shell("deployment", "data", "blue", "-e", "faq", "--rows").out.splitlines()
    ]
    assert [row["messages"][0]["content"] for row in rows] == ["at 1", "at 2"]
    whole = shell("deployment", "data", "faq/blue", "-o", "json").json
    assert [each["id"] for each in whole] == ["r1", "r2"]
    assert shell("deployment", "data", "faq/blue", "--since", "1h", "--rows").out == ""
    assert "Nothing was collected" in shell("deployment", "data", "faq/none").err
    assert shell("deployment", "data", "faq/blue", "--since", "soon").code == 2
    assert shell("deployment", "data", "faq/blue", "-f", "-o", "json").code == 2


def test_times_are_ago_or_dates() -> None:
    now = datetime(2026, 11, 23, 8, tzinfo=UTC)
    assert moment_of("30m", now) == now - timedelta(minutes=30)
    assert moment_of("2 d", now) == now - timedelta(days=2)
    assert moment_of("2026-11-23T08:00:00+00:00") == now
    assert moment_of("2026-11-23").tzinfo is not None
