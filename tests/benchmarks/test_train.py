"""The pure parts of `benchmarks/train`: what is compared with what, and how figures come about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.train import __main__ as command
from benchmarks.train import contest, gpu, material, score, sides
from benchmarks.train.ceiling import flops_per_token, shapes
from benchmarks.train.process import Failed, Measured, run_module
from benchmarks.train.run import Point, Run

from phoundry.errors import Unavailable
from tests.support.tiny_tokenizer import make_tiny_tokenizer

SMOLLM2: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}


def a_run(name: str, *, seconds: float, rss: int, curve: list[Point], tokens: int = 1000) -> Run:
    run = Run(name, tokens, 600, 10, seconds, f"/adapters/{name}", curve)
    return run.take(Measured(2 * seconds, 3 * seconds, rss))


@pytest.fixture
def runs() -> dict[str, list[Run]]:
    """Ours at 100 tokens/s, the peer at 25; both start from a loss of 4."""
    fast = [Point(5.0, 5, 3.0), Point(10.0, 10, 2.0)]
    slow = [Point(20.0, 5, 3.5), Point(40.0, 10, 2.5)]
    return {
        "ours": [a_run("ours", seconds=10, rss=1_000, curve=fast)],
        "trl_default": [a_run("trl_default", seconds=40, rss=4_000, curve=slow)],
    }


JUDGED = {"base": 4.0, "/adapters/ours": 2.1, "/adapters/trl_default": 2.6}


def summary(runs: dict[str, list[Run]]) -> dict[str, Any]:
    rates = {"square_2048": 100e9, "up": 50e9}
    return score.summary(
        runs,
        judged=JUDGED,
        flops_per_token=0.5e9,
        flops_computed=0.4e9,
        rates=rates,
        machine={},
    )


def test_the_loss_that_all_reach_is_the_worst_of_the_best(runs: dict[str, list[Run]]) -> None:
    assert score.reachable(runs) == 2.5
    assert score.reachable({"ours": [a_run("ours", seconds=1, rss=1, curve=[])]}) is None


@pytest.mark.parametrize(
    ("loss", "seconds"), [(4.0, 0.0), (3.5, 2.5), (3.0, 5.0), (2.5, 7.5), (2.0, 10.0), (1.9, None)]
)
def test_seconds_to_a_loss_go_straight_from_look_to_look(
    runs: dict[str, list[Run]], loss: float, seconds: float | None
) -> None:
    assert score.seconds_to(runs["ours"][0].curve, 4.0, loss) == seconds


def test_a_look_before_the_first_step_may_be_on_the_curve() -> None:
    curve = [Point(0.0, 0, 4.1), Point(2.0, 5, 3.1)]

    assert score.seconds_to(curve, 4.0, 3.6) == pytest.approx(1.0)


def test_the_summary_has_every_figure_that_was_asked_for(runs: dict[str, list[Run]]) -> None:
    found = summary(runs)

    assert found["tokens_per_second"] == 100.0
    assert found["ratio_trl_default"] == 4.0
    assert found["mfu"] == 0.5
    assert found["mfu_computed"] == 0.4
    assert found["peak_rss_mb"] == 0  # of 1,000 bytes
    assert found["ratio_rss_trl"] == 0.25
    assert found["seconds_to_eval_loss"] == {"ours": 7.5, "trl_default": 40.0}
    assert found["eval_loss"] == {"base": 4.0, "ours": 2.1, "trl_default": 2.6}
    assert json.loads(json.dumps(found)) == found


def test_a_figure_is_the_median_over_the_rounds(runs: dict[str, list[Run]]) -> None:
    runs["ours"] += [a_run("ours", seconds=s, rss=1, curve=[]) for s in (5, 20)]

    assert summary(runs)["tokens_per_second"] == 100.0


def test_without_a_look_at_the_held_out_rows_no_time_is_made_up(
    runs: dict[str, list[Run]],
) -> None:
    for of_one in runs.values():
        of_one[0].curve = []

    found = summary(runs)

    assert found["seconds_to_eval_loss"] == {}
    assert found["eval_loss_reached_by_all"] is None
    assert "–" in score.table(runs, found, {"ours": "Ours", "trl_default": "TRL"})


def test_contestants_that_saw_other_tokens_are_not_compared(runs: dict[str, list[Run]]) -> None:
    score.check_tokens(runs)
    runs["ours"].append(a_run("ours", seconds=1, rss=1, curve=[], tokens=999))

    with pytest.raises(ValueError, match=r"same tokens.*999 tokens"):
        score.check_tokens(runs)


def test_flops_of_a_token_are_those_worked_out_by_hand() -> None:
    # SmolLM2-135M: 30 × (2·576² + 2·576·192 + 3·576·1536) weights of linear layers.
    weights = 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536)
    adapters = 30 * 16 * (2 * (576 + 576) + 2 * (576 + 192) + 3 * (576 + 1536))
    head, attention = 49152 * 576, 30 * 576 * 100

    found = flops_per_token(SMOLLM2, rank=16, supervised_share=0.5, segment=100.0)

    assert found == 4 * weights + 2 * head + 6 * adapters + 6 * attention


@pytest.mark.parametrize("config", [SMOLLM2, gpu.PHI3_MINI])
def test_the_benchmark_counts_as_the_product_does(config: dict[str, Any]) -> None:
    from phoundry.specs.finetune import FineTuneParameters
    from phoundry.training.planning import flops
    from phoundry.training.planning.shape import ModelShape

    parameters = FineTuneParameters(apply_lora=True, lora_r=8)
    product = flops.flops_per_token(
        ModelShape.from_config(config), parameters, supervised_share=0.6, mean_segment=106.0
    )

    assert flops_per_token(config, rank=8, supervised_share=0.6, segment=106.0) == pytest.approx(
        product, rel=1e-12
    )


def test_the_products_measured_are_the_models_own() -> None:
    assert shapes(SMOLLM2, 1024) == {
        "square_2048": (2048, 2048, 2048),
        "query": (1024, 576, 576),
        "key": (1024, 576, 192),
        "up": (1024, 576, 1536),
        "down": (1024, 1536, 576),
        "head": (256, 576, 49152),
    }
    assert shapes(gpu.PHI3_MINI, 4096)["gate_up"] == (4096, 3072, 16384)


def test_a_pack_holds_what_trls_default_batch_does() -> None:
    assert material.pack_length([100] * 40) == 832
    assert material.pack_length([64] * 40) == 512
    assert material.pack_length([10] * 40 + [900]) == 900


def test_every_fifth_row_is_held_out_and_the_rest_counted(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    make_tiny_tokenizer(checkpoint)
    chats = [material.chat(f"What is {n}?", f"A number: {n}.") for n in range(10)]

    made = material.write_material(tmp_path / "data", checkpoint, chats)

    held_out = [json.loads(line) for line in made.held_out.read_text().splitlines()]
    assert held_out == [chats[4], chats[9]]
    assert made.conversations == 8
    assert 0 < made.supervised < made.tokens
    rendered = json.loads(made.held_out_ids.read_text())
    assert [len(row["ids"]) for row in rendered] == [len(r["supervised"]) for r in rendered]


def test_what_a_packs_conversations_begin_with_is_counted_once_among_the_computed(
    tmp_path: Path,
) -> None:
    checkpoint = tmp_path / "checkpoint"
    make_tiny_tokenizer(checkpoint)
    system = {"role": "system", "content": material.INSTRUCTION}
    chats = [material.chat(f"What is {n}?", f"A number: {n}.") for n in range(10)]
    for row in chats:
        row["messages"].insert(0, system)

    made = material.write_material(tmp_path / "data", checkpoint, chats)

    assert made.supervised < made.computed < made.tokens / 2


def test_all_are_given_the_same_hyperparameters() -> None:
    theirs, lora = contest.shared_settings(7), contest.shared_lora()
    ours = contest.our_parameters(768, bfloat16=True, evaluate=False, seed=7)

    for name in ("learning_rate", "lr_scheduler_type", "num_train_epochs", "seed"):
        assert ours[name] == theirs[name], name
    assert (ours["lora_r"], ours["lora_alpha"]) == (lora["r"], lora["lora_alpha"])
    assert ours["pack_length"] == contest.peers(768, bfloat16=True)[1].settings["max_length"]


def test_our_parameters_are_those_of_the_product() -> None:
    from phoundry.specs.finetune import resolve

    parameters, sources = resolve(contest.our_parameters(768, bfloat16=True, evaluate=True, seed=7))

    assert parameters.apply_lora
    assert sources["pack_length"] == "user"


def test_without_bfloat16_products_nobody_gets_them() -> None:
    assert contest.our_parameters(768, bfloat16=False, evaluate=False, seed=7)["precision"] == "32"
    for side in contest.peers(768, bfloat16=False):
        assert side.settings["bf16"] is False
        assert not side.loading


EVENTS: list[dict[str, Any]] = [
    {"time": 100.0, "kind": "started"},
    {"time": 104.0, "kind": "progress", "step": 5, "tokens": 500},
    {"time": 110.0, "kind": "progress", "step": 10, "tokens": 1000},
]
RESULT: dict[str, Any] = {
    "output": "/output",
    "metrics": {"tokens": 1000, "steps": 10, "tokens_per_second": 125.0},
}


def test_our_seconds_are_the_clocks_where_nothing_was_evaluated() -> None:
    choice = {"time": 99.0, "kind": "choice", "name": "row_tokens", "value": "1024"}

    run = sides.read_ours([choice, *EVENTS], RESULT, supervised=600)

    assert (run.seconds, run.rate, run.curve) == (10.0, 100.0, [])
    assert run.choices == {"row_tokens": "1024"}


def test_evaluations_are_left_out_of_our_seconds() -> None:
    looks = [
        {"time": 100.0, "kind": "evaluated", "step": 0, "eval_loss": 4.0},
        {"time": 107.0, "kind": "evaluated", "step": 5, "eval_loss": 3.0},
    ]

    run = sides.read_ours([*EVENTS, *looks], RESULT, supervised=600)

    assert run.seconds == 8.0
    assert run.curve == [Point(0.0, 0, 4.0), Point(4.0, 5, 3.0)]


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = a_run("ours", seconds=3, rss=5, curve=[Point(1.0, 2, 3.0)])
    run.write(tmp_path / "run.json")

    assert Run.read(tmp_path / "run.json") == run


def test_a_processs_peak_and_output_are_had(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"

    measured = run_module("this", log=log, environ={"PATH": "/usr/bin"})

    assert "Beautiful is better than ugly." in log.read_text()
    assert measured.peak_rss > 1_000_000
    assert measured.seconds > 0


def test_a_side_that_fails_says_how(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="no_such_module"):
        run_module("no_such_module", log=tmp_path / "log.txt", environ={})


def test_a_peer_that_cannot_be_fetched_is_said_and_not_taken_for_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"pip could not install \./nowhere"):
        material.install(["./nowhere"], tmp_path)

    assert not list(tmp_path.rglob(".complete"))


def test_full_size_is_refused_where_there_is_no_gpu() -> None:
    with pytest.raises(ValueError, match=r"no CUDA GPU.*--tiny"):
        gpu.chosen_work(tiny=False, cuda=False)
    assert gpu.chosen_work(tiny=False, cuda=True).row == 4096
    assert gpu.chosen_work(tiny=True, cuda=False).device == "cpu"


def test_options_that_make_no_sense_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.options(["--tiny"])
    assert "name both" in capsys.readouterr().err
    quick = command.options(["--quick"])
    assert (quick.repeats, quick.rows) == (1, command.QUICK_ROWS)


@pytest.mark.slow
def test_our_side_trains_and_the_judge_agrees_with_it(tmp_path: Path) -> None:
    """The whole way of our side on a tiny model, in processes of their own."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    checkpoint = tmp_path / "checkpoint"
    tokenizer = make_tiny_tokenizer(checkpoint)
    torch.manual_seed(3)
    config = AutoConfig.for_model(
        "llama",
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=tokenizer.vocab_size,
        max_position_embeddings=512,
        initializer_range=0.2,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(checkpoint)
    chats = [material.chat(f"What is {n}?", f"A number: {n}.") for n in range(60)]
    given = material.write_material(tmp_path / "data", checkpoint, chats)
    match = command.Match(given, tmp_path, packages=tmp_path)
    match.bfloat16 = False

    run = match.run(contest.OURS, 0)
    judged = match.judge({contest.OURS: [run]})

    assert run.tokens == given.tokens
    assert run.peak_rss > 50_000_000
    assert run.curve[-1].step == run.steps
    # Two implementations of the same loss: the trainer's at the end, and plain transformers'.
    assert run.curve[-1].loss == pytest.approx(judged[run.adapter], abs=1e-4)
    assert judged[run.adapter] < judged["base"]
