"""`phoundry apply` and `phoundry get` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phoundry.cli.plan_text import change_text, forecast_lines, plan_text
from phoundry.specs.plan import Change, Forecast, Plan, PlanItem
from tests.cli.conftest import Shell
from tests.cli.test_up import started, steps
from tests.client.fake_api import KEY, TOKEN, FakeApi

__all__ = ["started"]
ROW = {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}
PROJECT = "name: faq-bot\ndata: {source: faq.jsonl}\nmodel: smollm2-135m-instruct\nflow: chat\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [json.dumps(ROW) for _ in range(5)]
    (tmp_path / "faq.jsonl").write_text("\n".join(rows))
    path = tmp_path / "phoundry.yaml"
    path.write_text(PROJECT)
    return path


def test_a_dry_run_shows_the_plan_and_makes_nothing(shell: Shell, file: Path) -> None:
    done = shell("apply", "-f", str(file), "--dry-run")
    assert done.code == 0
    assert "+ job" in done.out
    assert "7 to create." in done.out
    assert shell("data", "list", "-o", "json").json == []


def test_a_plan_is_one_json_document(shell: Shell, file: Path) -> None:
    done = shell("apply", "-f", str(file), "--dry-run", "-o", "json")
    assert [item["action"] for item in done.json["items"]] == ["create"] * 7
    assert done.err == ""


def test_the_file_of_this_folder_is_taken(
    shell: Shell, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    assert "faq-bot/tuned-1" in shell("apply", "--dry-run").out


def test_settings_and_a_name_are_written_over(shell: Shell, file: Path) -> None:
    words = ["--set", "finetune.num_train_epochs=2", "endpoint.name=other", "-n", "renamed"]
    done = shell("apply", "-f", str(file), "--dry-run", *words)
    assert "renamed:1" in done.out
    assert "× 2 epochs" in done.out
    assert "other/tuned-1" in done.out


def test_standard_input_is_a_file(shell: Shell, file: Path) -> None:
    text = PROJECT.replace("faq.jsonl", str(file.parent / "faq.jsonl"))
    assert shell("apply", "-f", "-", "--dry-run", stdin=text).code == 0


def test_every_fault_comes_with_its_line(shell: Shell, file: Path) -> None:
    file.write_text(PROJECT + "finetune: {lora_rr: 2}\nendpoint: {nam: x}\n---\nfoo: 1\n")
    done = shell("apply", "-f", str(file), "-o", "json")
    assert done.code == 1
    assert [fault["where"].rpartition(":")[2] for fault in done.error["faults"]] == ["5", "6", "8"]


def test_it_asks_and_a_no_makes_nothing(shell: Shell, file: Path) -> None:
    done = shell("apply", "-f", str(file), stdin="n\n", terminal=True)
    assert done.code == 1
    assert "Do this?" in done.err
    assert shell("data", "list", "-o", "json").json == []


def test_nobody_to_ask_is_said(shell: Shell, file: Path) -> None:
    done = shell("apply", "-f", str(file))
    assert done.code == 2
    assert "Add -y" in done.err


def test_it_walks_and_says_where_the_model_answers(
    shell: Shell, started: FakeApi, file: Path
) -> None:
    started.journey_states = [{"state": "done", "steps": steps("done", "done", "done")}]
    done = shell("apply", "-f", str(file), "-y")
    assert done.code == 0, done.err
    assert f"{started.url}/endpoints/faq-bot/score" in done.out
    assert "phoundry chat" in done.err
    assert not {KEY, TOKEN} & set((done.out + done.err).split())


def test_without_waiting_it_says_what_is_left(shell: Shell, started: FakeApi, file: Path) -> None:
    done = shell("apply", "-f", str(file), "-y", "--no-wait")
    assert done.code == 0, done.err
    assert "not yet there: project/faq-bot" in done.err
    found = shell("apply", "-f", str(file), "-y", "--no-wait", "-o", "json").json
    assert found["pending"] == ["project/faq-bot"]


def test_the_schema_is_where_it_says(shell: Shell) -> None:
    path = Path(shell("apply", "--schema").out.strip())
    assert json.loads(path.read_text())["anyOf"]


def test_get_writes_what_is_there_without_secrets(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUSH", "canary-1234")
    made = shell(
        "connection", "create", "faq", "--set", "endpoint=http://x", "--secret", "key=env:HUSH"
    )
    assert made.code == 0
    done = shell("get", "faq")
    assert "canary" not in done.out
    assert "key: ${FAQ_KEY}" in done.out
    (tmp_path / "got.yaml").write_text(done.out)
    monkeypatch.setenv("FAQ_KEY", "canary-1234")
    assert "Nothing to do." in shell("apply", "-f", str(tmp_path / "got.yaml")).err
    monkeypatch.setenv("FAQ_KEY", "canary-5678")
    plan = shell("apply", "-f", str(tmp_path / "got.yaml"), "--dry-run")
    assert "secrets.key changes" in plan.out
    assert "canary" not in plan.out + plan.err


def test_get_of_what_is_not_there_names_the_nearest(shell: Shell) -> None:
    shell("connection", "create", "faq-bot", "--set", "a=b")
    done = shell("get", "faqbot", "-o", "json")
    assert done.code == 1
    assert done.error["code"] == "NotFound"
    assert "faq-bot" in done.error["remedy"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Change(field="lora_r", old=8, new=16), "lora_r: 8 → 16"),
        (Change(field="stop", old=[], new=["x"]), 'stop: - → ["x"]'),
        (Change(field="secrets.key"), "secrets.key changes"),
    ],
)
def test_changes_are_read_at_a_glance(change: Change, said: str) -> None:
    assert change_text(change) == said


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            {"tokens": 9000, "steps": 12, "epochs": 3},
            "about 9,000 tokens × 3 epochs, about 12 steps",
        ),
        ({"tokens": 9000, "steps": 1, "about": False}, "9,000 tokens × 1 epoch, 1 steps"),
        ({"memory_bytes": 2e9, "available_bytes": 1e9, "fits": False}, "does not fit"),
        ({"seconds": 90, "tokens_per_second": 300, "basis": "as job a ran here"}, "1 min 30 s"),
        ({}, "time unknown"),
    ],
)
def test_a_forecast_says_what_is_known_and_what_is_not(found: dict[str, Any], said: str) -> None:
    assert said in " | ".join(forecast_lines(Forecast.model_validate(found)))


def test_a_plan_is_counted() -> None:
    items = [
        PlanItem(kind="data", name="a:1", action="nothing"),
        PlanItem(kind="job", name="a-1", action="create", waits_for=["data/a"]),
    ]
    text = plan_text(Plan(items=items))
    assert "+ job   a-1  (after data/a)" in text
    assert text.endswith("1 to create, 1 as declared.")
