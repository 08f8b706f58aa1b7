from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import benchmarks.train as about
from benchmarks.train import contest, material, score, sides
from benchmarks.train.ceiling import flops_per_token
from benchmarks.train.machine import describe
from benchmarks.train.process import Failed, run_module
from benchmarks.train.run import Run
from phoundry.errors import PhoundryError

ROWS, QUICK_ROWS = 100, 50
REPEATS = 2
QUIET = 0.5  # load average up to which a machine counts as idle


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train",
        description=about.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one round on few rows")
    parser.add_argument("--repeats", type=int, help=f"rounds ({REPEATS})")
    parser.add_argument("--rows", type=int, help=f"rows of the FAQ ({ROWS})")
    parser.add_argument(
        "--system", type=int, default=0, help="sentences of a system prompt for every row (0)"
    )
    parser.add_argument("--only", action="append", help="contestants beside ours (all)")
    parser.add_argument("--cache", type=Path, help="for what is fetched, and kept")
    parser.add_argument("--keep", type=Path, help="a new folder for runs and logs, which then stay")
    parser.add_argument("--gpu", action="store_true", help="Phi-3-mini on a GPU beside TRL")
    parser.add_argument("--tiny", action="store_true", help="with --gpu: a tiny one, anywhere")
    chosen = parser.parse_args(arguments)
    if chosen.tiny and not chosen.gpu:
        parser.error("--tiny is a trial of --gpu: name both.")
    chosen.repeats = chosen.repeats or (1 if chosen.quick else REPEATS)
    chosen.rows = chosen.rows or (QUICK_ROWS if chosen.quick else ROWS)
    return chosen


def say(text: str) -> None:
    print(text, flush=True)


class Match:
    """Every contestant's runs, taken in turns."""

    def __init__(self, given: material.Material, folder: Path, packages: Path) -> None:
        from phoundry.training.machine import machine_recommendation

        self.given, self.folder, self.packages = given, folder, packages
        self.bfloat16 = machine_recommendation()["precision"] == "16"
        self.peers = {p.name: p for p in contest.peers(given.pack_length, bfloat16=self.bfloat16)}
        self.titles = {contest.OURS: "Phoundry"} | {n: p.title for n, p in self.peers.items()}
        self.rates: dict[str, float] = {}

    def names(self, only: list[str] | None) -> list[str]:
        """Ours, and the peers that were asked for."""
        if unknown := sorted(set(only or ()) - set(self.peers)):
            sys.exit(f"There is no contestant {unknown[0]}; there are {', '.join(self.peers)}.")
        return [contest.OURS, *(n for n in self.peers if not only or n in only)]

    def play(self, names: list[str], rounds: int) -> dict[str, list[Run]]:
        """Rounds, each begun by another contestant: nobody always comes after the same one."""
        runs: dict[str, list[Run]] = {name: [] for name in names}
        self.measure_products()
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                run = self.run(name, number)
                runs[name].append(run)
                say(
                    f"round {number + 1}  {self.titles[name]:22}{run.rate:7.1f} tokens/s  "
                    f"{run.tokens:,} tokens in {run.seconds:.1f} s, {run.steps} steps  "
                    f"peak {run.peak_rss / 1e6:,.0f} MB  load {os.getloadavg()[0]:.1f}"
                )
            self.measure_products()
        return runs

    def run(self, name: str, number: int) -> Run:
        """One run; the first round's looks at the held-out rows."""
        folder = self.folder / f"{number + 1}-{name}"
        evaluate, seed = number == 0, contest.SEED + number
        if name == contest.OURS:
            return sides.ours(
                self.given, folder, bfloat16=self.bfloat16, evaluate=evaluate, seed=seed
            )
        side = self.peers[name]
        return sides.peer(
            side, self.given, folder, packages=self.packages, evaluate=evaluate, seed=seed
        )

    def measure_products(self) -> None:
        """Rates of matrix products; of several looks the best counts, to nobody's advantage."""
        log = self.folder / "rates.txt"
        dtype = "bfloat16" if self.bfloat16 else "float32"
        arguments = [str(self.given.checkpoint), str(self.given.pack_length), dtype, "cpu"]
        run_module("benchmarks.train.ceiling", *arguments, log=log, environ=os.environ)
        for name, rate in json.loads(log.read_text().splitlines()[-1]).items():
            self.rates[name] = max(rate, self.rates.get(name, 0.0))

    def judge(self, runs: dict[str, list[Run]]) -> dict[str, float]:
        """The float32 loss of the base and of every adapter."""
        out, log = self.folder / "judged.json", self.folder / "judge.txt"
        adapters = [run.adapter for of_one in runs.values() for run in of_one]
        files = [str(self.given.checkpoint), str(self.given.held_out_ids), str(out)]
        run_module("benchmarks.train.judge", *files, *adapters, log=log, environ=os.environ)
        return json.loads(out.read_text())

    def flops_per_token(self, computed_share: float = 1.0) -> float:
        return flops_per_token(
            json.loads((self.given.checkpoint / "config.json").read_text()),
            rank=contest.LORA_RANK,
            supervised_share=self.given.supervised / self.given.tokens,
            segment=self.given.segment,
            computed_share=computed_share,
        )


def compare(chosen: argparse.Namespace, cache: Path, folder: Path) -> None:
    """The whole comparison on the processor."""
    started = time.monotonic()
    machine = describe(material.TRL)
    packages = material.install([material.TRL], cache)
    given = material.prepare(folder / "data", cache, chosen.rows, sentences=chosen.system)
    match = Match(given, folder, packages)
    say(
        f"{given.conversations} conversations, {given.tokens:,} tokens, of which "
        f"{given.supervised:,} are supervised; packs of {given.pack_length}, in which we compute "
        f"{given.computed:,} tokens, what conversations begin with alike once; "
        f"load {machine['load_average_at_start'][0]}"
    )
    busy = machine["load_average_at_start"][0] > QUIET
    if busy and "OMP_WAIT_POLICY" not in os.environ:
        say(
            "This machine is busy. Threads that wait by spinning, as TRL's do and ours do not, "
            "then lose far more than their share: the ratios below flatter us. "
            "OMP_WAIT_POLICY=passive is the fairer setting for all."
        )
    runs = match.play(match.names(chosen.only), chosen.repeats)
    score.check_tokens(runs)
    found = score.summary(
        runs,
        judged=match.judge(runs),
        flops_per_token=match.flops_per_token(),
        flops_computed=match.flops_per_token(given.computed / given.tokens),
        rates=match.rates,
        machine=machine | {"seconds": round(time.monotonic() - started)},
    )
    say("\n" + score.table(runs, found, match.titles))
    print(json.dumps(found))


def main(arguments: list[str] | None = None) -> None:
    chosen = options(sys.argv[1:] if arguments is None else arguments)
    from phoundry.settings import Home

    cache: Path = (chosen.cache or Home.current().cache / "benchmarks").resolve()
    cache.mkdir(parents=True, exist_ok=True)
    play = compare
    if chosen.gpu:
        from benchmarks.train import gpu

        play = gpu.compare
    try:
        if chosen.keep:
            chosen.keep.mkdir(parents=True)
            play(chosen, cache, chosen.keep.resolve())
        else:
            with tempfile.TemporaryDirectory(prefix="phoundry-bench-") as folder:
                play(chosen, cache, Path(folder))
    except (Failed, PhoundryError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
