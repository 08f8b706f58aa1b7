"""Tokens a second of an endpoint, beside the bare engine and transformers' generate.

    python -m benchmarks.serve [--rounds 5] [--max-tokens 64] [--parts bare,best] [--quick]

SmolLM2-135M, greedy answers to questions of the construction FAQ, streamed; 1, 4, 8 and 16 clients.
Our endpoint is gateway and replica; the bare engine is llama.cpp's own server with the same GGUF
and settings, asked with token ids (`best`: or OpenVINO GenAI, where that is faster, and then our
endpoint serves with it, too). All are up all the time and are asked in turn, round by round, so
that other work on the machine meets all; the median round counts. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.serve import sides
from benchmarks.serve.best import STREAMS as AT_BEST
from benchmarks.serve.best import best
from benchmarks.serve.load import Round
from benchmarks.serve.rounds import EACH, Rounds, in_turn, say
from benchmarks.serve.sides import Questions, Served
from benchmarks.train.material import MODEL, faq
from phoundry.compute import machine
from phoundry.data import ChatTokenizer
from phoundry.settings import Home

STREAMS = (1, 4, 8, 16)
CONTEXT = 512
QUESTIONS = 96
PARTS = ("bare", "best", "reference")


def main() -> None:
    options = _arguments()
    cache: Path = (options.cache or Home.current().cache / "benchmarks").resolve()
    checkpoint, q8, q4 = _models(cache)
    tokenizer = ChatTokenizer.load(checkpoint)
    texts = [chat["messages"][0]["content"] for chat in faq(cache, QUESTIONS)]
    questions = Questions.of(texts, tokenizer)
    with tempfile.TemporaryDirectory(prefix="phoundry-serve-") as name:
        match = Match(options, checkpoint, questions, Path(name))
        result: dict[str, Any] = {}
        if "bare" in options.parts:
            result |= match.together(q8)
        if "best" in options.parts:
            result |= match.best(q8, cache)
        if "reference" in options.parts:
            result |= match.alone("Q8_0", q8) | match.alone("Q4_1", q4)
    print(json.dumps(result))


class Match:
    """All sides on one machine, one after the other or in turn."""

    def __init__(
        self, options: argparse.Namespace, checkpoint: Path, questions: Questions, folder: Path
    ) -> None:
        self.options, self.checkpoint = options, checkpoint
        self.questions, self.folder = questions, folder
        self.threads = machine.cores()
        self.rounds = Rounds(options.rounds, options.max_tokens)

    def together(self, gguf: Path) -> dict[str, Any]:
        """Our endpoint and the bare engine by number of streams."""
        served = self._served(gguf, slots=max(STREAMS))
        with (
            sides.endpoint(served, self.questions, self.folder / "ours") as ours,
            sides.bare(served, self.questions, self.folder / "bare") as bare,
        ):
            found = {n: in_turn([ours, bare], n, self.questions, self.rounds) for n in STREAMS}
        result: dict[str, Any] = {}
        ratios = {n: _median_ratio(one, other) for n, (one, other) in found.items()}
        for streams, (one, other) in found.items():
            result[f"tokens_per_second_{streams}"] = round(_median(one), 1)
            result[f"tokens_per_second_{streams}_bare"] = round(_median(other), 1)
            result[f"first_token_ms_{streams}"] = _first(one)
            result[f"first_token_ms_{streams}_bare"] = _first(other)
        result["ratio_bare_engine"] = round(min(ratios.values()), 3)
        result["ratio_bare_engine_by_streams"] = {n: round(r, 3) for n, r in ratios.items()}
        return result

    def best(self, gguf: Path, cache: Path) -> dict[str, Any]:
        """Our endpoint against the best engine that there is."""
        served = self._served(gguf, slots=AT_BEST)
        return best(served, self.questions, self.folder / "best", cache, self.rounds)

    def alone(self, kind: str, gguf: Path) -> dict[str, Any]:
        """One stream of our endpoint and of transformers, in turn."""
        served = self._served(gguf, slots=1)
        folder = self.folder / kind
        ours: list[float] = []
        theirs: list[float] = []
        with ExitStack() as stack:
            one = stack.enter_context(sides.endpoint(served, self.questions, folder / "ours"))
            other = stack.enter_context(
                sides.reference(self.checkpoint, self.threads, self.questions, folder / "theirs")
            )
            for number in range(-1, self.options.rounds):
                share = self.questions.share(1, EACH, EACH * (number + 1))
                answered = asyncio.run(one.play(share, self.options.max_tokens))
                rates = [other.rate([each], self.options.max_tokens) for each in share[0]]
                if number >= 0:  # the first round warms up
                    ours.append(answered.rate)
                    theirs.append(statistics.harmonic_mean(rates))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        say(f"{kind}, 1 stream", {"endpoint": ours, f"transformers {other.dtype}": theirs})
        name = "" if kind == "Q8_0" else f"_{kind.lower()}"
        return {
            f"ratio_transformers_1{name}": round(ratio, 2),
            f"transformers_tokens_per_second_1{name}": round(statistics.median(theirs), 1),
            f"tokens_per_second_1{name or '_q8_0'}": round(statistics.median(ours), 1),
        }

    def _served(self, gguf: Path, slots: int) -> Served:
        return Served(gguf, self.checkpoint, CONTEXT, slots, self.threads)


def _models(cache: Path) -> tuple[Path, Path, Path]:
    """The checkpoint, its GGUF as Q8_0, and the GGUF as the package ships it (Q4_1)."""
    from phoundry.models import catalog
    from phoundry.models.convert import convert
    from phoundry.models.fetch import package_file
    from phoundry.models.materialize import materialize

    checkpoint, q8 = cache / MODEL, cache / f"{MODEL}-Q8_0.gguf"
    materialize(MODEL, checkpoint, cache / "models", say=_line)
    if not q8.exists():
        convert(checkpoint, q8, "Q8_0")
    entry = catalog.resolve(MODEL).entry
    assert entry  # the demo's model comes from a package
    assert entry.package
    return checkpoint, q8, package_file(entry.package, cache / "models", _line)


def _median(rounds: list[Round]) -> float:
    return statistics.median(each.rate for each in rounds)


def _median_ratio(ours: list[Round], bare: list[Round]) -> float:
    """Median of the ratios of neighbouring rounds, which saw the same machine."""
    return statistics.median(a.rate / b.rate for a, b in zip(ours, bare, strict=True))


def _first(rounds: list[Round]) -> float:
    """Median milliseconds until a client has its first token."""
    times = [answer.first for each in rounds for answer in each.answers]
    return round(statistics.median(times) * 1000, 1)


def _line(text: str) -> None:
    print(text, flush=True)


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(text.split(","))
    if unknown := set(parts) - set(PARTS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not {', '.join(PARTS)}")
    return parts


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--parts", type=_parts, default=PARTS, help=",".join(PARTS))
    parser.add_argument("--cache", type=Path, help="for what is fetched, and kept")
    parser.add_argument("--quick", action="store_true", help="one round of short answers")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.max_tokens = 1, 16
    return options


if __name__ == "__main__":
    main()
