"""Jobs that name data files, as Azure's own samples do; and the lines of what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phoundry.cli.job_file import lines_told, with_assets
from phoundry.cli.output import Format, Printer
from phoundry.client import Client
from phoundry.errors import Fault, InvalidInput
from phoundry.settings import Home
from phoundry.specs.job import FineTuningJobSpec
from tests.cli.conftest import Shell


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


def test_what_is_found_later_has_its_line_unless_it_was_overridden(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("model: m\nhyperparameters:\n  eval_steps: 5\n  lora_r: 4\n")
    faults = [Fault(f"hyperparameters {name}", "bad") for name in ("eval_steps", "lora_r", "seed")]
    faults.append(Fault("faq.jsonl:2", "bad row"))
    with pytest.raises(InvalidInput) as told, lines_told(file, ["hyperparameters.lora_r=8"]):
        raise InvalidInput("Not usable.", faults=faults, remedy="Look.")
    assert [str(fault) for fault in told.value.faults] == [
        f"{file}:3: hyperparameters.eval_steps: bad",
        "hyperparameters lora_r: bad",
        "hyperparameters seed: bad",
        "faq.jsonl:2: bad row",
    ]
    assert told.value.remedy == "Look."


def test_a_job_of_two_files_is_created_and_refused_by_line(shell: Shell, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", 10)
    write(tmp_path / "held-out.jsonl", 3)
    text = (
        "type: finetuning\nname: two\nmodel: {path: smollm2-135m-instruct, type: custom_model}\n"
        "training_data: train.jsonl\nvalidation_data: {path: held-out.jsonl, type: uri_file}\n"
        'hyperparameters:\n  num_train_epochs: "1"\n  eval_steps: "5"\n'
    )
    file = tmp_path / "job.yaml"
    file.write_text(text)
    refused = shell("job", "create", "-f", str(file))
    assert refused.code == 1
    assert f"{file}:8: hyperparameters.eval_steps: eval_steps=5 has no effect" in refused.err
    listed = shell("data", "list", "-o", "json").json
    assert {each["name"] for each in listed} == {"train", "held-out"}
