"""A job that names data files, as Azure's own samples do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phoundry.cli.job_data import with_assets
from phoundry.cli.output import Format, Printer
from phoundry.client import Client
from phoundry.errors import InvalidInput
from phoundry.settings import Home
from phoundry.specs.job import FineTuningJobSpec


def write(path: Path, rows: int) -> Path:
    turns = ("user", "assistant")
    messages = [[{"role": role, "content": f"{role} {n}"} for role in turns] for n in range(rows)]
    path.write_text("".join(json.dumps({"messages": each}) + "\n" for each in messages))
    return path


def job(training: str, validation: str | None = None) -> FineTuningJobSpec:
    return FineTuningJobSpec(model="m", training_data=training, validation_data=validation)


def test_files_beside_the_job_become_assets_once(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client, out = Client(), Printer(Format.table)
    write(tmp_path / "train set.jsonl", 10)
    write(tmp_path / "validation.jsonl", 3)
    spec = job("train set.jsonl", "./validation.jsonl")
    for _ in range(2):
        made = with_assets(client, spec, tmp_path, out)
        assert (made.training_data, made.validation_data) == ("train-set:1", "validation:1")
    assert made.model_copy(update=spec.model_dump()) == spec
    by_name = {asset.name: asset for asset in client.data.list()}
    assert {name: asset.train.rows for name, asset in by_name.items()} == {
        "train-set": 10,
        "validation": 3,
    }
    assert "is the data asset train-set:1 now, of 10 rows." in capsys.readouterr().err


def test_without_validation_some_rows_are_held_out(home: Home, tmp_path: Path) -> None:
    write(tmp_path / "faq.jsonl", 10)
    client = Client()
    made = with_assets(client, job("faq.jsonl"), tmp_path, Printer(Format.json))
    asset = client.data.show(made.training_data)
    assert asset.test is not None
    assert (asset.train.rows, asset.test.rows) == (8, 2)


def test_assets_and_files_that_are_not_there_stay(home: Home, tmp_path: Path) -> None:
    write(tmp_path / "faq", 10)  # an asset of this name is meant
    spec = job("faq", "missing.jsonl")
    assert with_assets(Client(), spec, tmp_path, Printer(Format.json)) == spec


def test_bad_rows_are_refused_by_line(home: Home, tmp_path: Path) -> None:
    (tmp_path / "faq.jsonl").write_text("{nonsense\n")
    with pytest.raises(InvalidInput):
        with_assets(Client(), job("faq.jsonl"), tmp_path, Printer(Format.json))
