"""From runs to figures: medians, the loss that all can reach, the table and the last line."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.train.contest import OURS
from benchmarks.train.run import Point, Run

Runs = Mapping[str, Sequence[Run]]


def median(runs: Sequence[Run], name: str) -> float:
    """The median over rounds of an attribute of the runs."""
    return statistics.median(getattr(run, name) for run in runs)


def check_tokens(runs: Runs) -> None:
    """Nobody may have seen other tokens than the others.

    Raises:
        ValueError: the tokens of two runs differ.
    """
    seen = {(run.tokens, run.supervised): name for name, of_one in runs.items() for run in of_one}
    if len(seen) > 1:
        said = "; ".join(f"{name}: {t} tokens, {s} supervised" for (t, s), name in seen.items())
        raise ValueError(f"The contestants did not see the same tokens: {said}.")


def reachable(runs: Runs) -> float | None:
    """The held-out loss that every contestant reaches: the worst of their best. None: no curves."""
    best = [
        min(p.loss for p in run.curve) for of_one in runs.values() for run in of_one if run.curve
    ]
    return max(best) if best else None


def seconds_to(curve: Sequence[Point], start: float, loss: float) -> float | None:
    """Seconds of training until the held-out loss is at most `loss`, straight between two looks.

    `start` is the base model's loss, at 0 seconds. None: never.
    """
    before = Point(0.0, 0, start)
    for point in sorted(curve, key=lambda p: p.seconds):
        if point.loss <= loss:
            if before.loss <= loss:
                return before.seconds
            share = (before.loss - loss) / (before.loss - point.loss)
            return before.seconds + share * (point.seconds - before.seconds)
        before = point
    return None


def summary(
    runs: Runs,
    *,
    judged: Mapping[str, float],
    flops_per_token: float,
    flops_computed: float,
    rates: Mapping[str, float],
    machine: Mapping[str, Any],
) -> dict[str, Any]:
    """The last line. `judged`: the float32 loss of `base` and of each adapter by its path.

    tokens_per_second      ours, median over the rounds
    ratio_<peer>           ours ÷ the peer's
    seconds_to_eval_loss   until the loss `eval_loss_reached_by_all`, on the first round's curve
    mfu                    tokens/s × FLOPs of a token ÷ the best rate of any product measured here,
                           each token of each conversation counted, as all trainers count them
    mfu_computed           the same with what we compute: common beginnings once a pack
    peak_rss_mb            of the process and its children, in rounds that did nothing but train
    ratio_rss_<peer>       our peak ÷ the peer's; ratio_rss_trl: beside its defaults
    """
    speed = {name: median(of_one, "rate") for name, of_one in runs.items()}
    memory = {name: median(_plain(of_one), "peak_rss") for name, of_one in runs.items()}
    others = [name for name in runs if name != OURS]
    best = max(rates.values())
    goal = reachable(runs)
    curves = {name: of_one[0].curve for name, of_one in runs.items() if of_one[0].curve}
    return {
        "tokens_per_second": round(speed[OURS], 1),
        **{f"ratio_{name}": round(speed[OURS] / speed[name], 2) for name in others},
        "seconds_to_eval_loss": {
            name: _rounded(seconds_to(curve, judged["base"], goal), 1)
            for name, curve in curves.items()
            if goal is not None
        },
        "eval_loss_reached_by_all": _rounded(goal, 4),
        "eval_loss": {"base": round(judged["base"], 4)}
        | {name: round(median_loss(of_one, judged), 4) for name, of_one in runs.items()},
        "mfu": round(speed[OURS] * flops_per_token / best, 3),
        "mfu_computed": round(speed[OURS] * flops_computed / best, 3),
        "mfu_square_2048": round(speed[OURS] * flops_per_token / rates["square_2048"], 3),
        "mfu_peers": {n: round(speed[n] * flops_per_token / best, 3) for n in others},
        "best_gflops": round(best / 1e9, 1),
        "rates_gflops": {name: round(rate / 1e9, 1) for name, rate in rates.items()},
        "mflop_per_token": round(flops_per_token / 1e6, 1),
        "peak_rss_mb": round(memory[OURS] / 1e6),
        **_memory_ratios(memory, others),
        "peak_rss_mb_peers": {name: round(memory[name] / 1e6) for name in others},
        "tokens_per_second_peers": {name: round(speed[name], 1) for name in others},
        "steps": {name: of_one[0].steps for name, of_one in runs.items()},
        "tokens": runs[OURS][0].tokens,
        "process_seconds": {n: round(median(r, "process_seconds"), 1) for n, r in runs.items()},
        "cpu_seconds": {n: round(median(r, "cpu_seconds"), 1) for n, r in runs.items()},
        "choices": runs[OURS][0].choices,
        "rounds": {name: [round(run.rate, 1) for run in of_one] for name, of_one in runs.items()},
        **machine,
    }


def median_loss(runs: Sequence[Run], judged: Mapping[str, float]) -> float:
    """The judge's loss of what a contestant's rounds ended with."""
    return statistics.median(judged[run.adapter] for run in runs)


def _plain(runs: Sequence[Run]) -> Sequence[Run]:
    """Those that did nothing but train, where there are any: looking takes memory too."""
    return [run for run in runs if not run.curve] or runs


def _memory_ratios(memory: Mapping[str, float], others: Sequence[str]) -> dict[str, float]:
    ratios = {f"ratio_rss_{name}": round(memory[OURS] / memory[name], 2) for name in others}
    first = {"ratio_rss_trl": ratios["ratio_rss_trl_default"]} if "trl_default" in others else {}
    return first | ratios


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def table(runs: Runs, found: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """The figures for people, a contestant a line."""
    heads = [
        "",
        "tokens/s",
        "ours ÷",
        "to loss, s",
        "held-out loss",
        "peak MB",
        "steps",
        "process s",
    ]
    speed = {OURS: found["tokens_per_second"]} | found["tokens_per_second_peers"]
    memory = {OURS: found["peak_rss_mb"]} | found["peak_rss_mb_peers"]
    rows = [heads]
    for name in runs:
        reached = found["seconds_to_eval_loss"].get(name)
        rows.append(
            [
                titles[name],
                f"{speed[name]:.1f}",
                f"{speed[OURS] / speed[name]:.2f}",
                "–" if reached is None else f"{reached:.1f}",
                f"{found['eval_loss'][name]:.4f}",
                f"{memory[name]:,}",
                str(found["steps"][name]),
                f"{found['process_seconds'][name]:.1f}",
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0])]
            + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
        )
        for row in rows
    )
