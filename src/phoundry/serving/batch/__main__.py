"""The batch worker: `python -m phoundry.serving.batch RUN_DIR`.

spec.json, beside the keys of a replica that say what is loaded (`serving/replica/__main__.py`:
engine, gguf_path or checkpoint_dir, weights, sha256, tokenizer_dir, model_name, context_length,
slots, threads, defaults, options):

    input_path    JSONL; `batch/requests.py` says what a line may be
    input_name    what the user calls it, for messages
    lines         how many it has to answer, bad ones included

It writes output/answers.jsonl and output/errors.jsonl in the order of the input, and goes on from
what is there. Events: `started {engine, lines, slots, context_length}`, `progress` (specs.job
.Progress). Result: `{metrics, output}`. SIGTERM ends it with what was answered on disk.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from phoundry.data import ChatTokenizer
from phoundry.errors import PhoundryError
from phoundry.serving.batch.answers import Answers, Counts
from phoundry.serving.batch.asking import Asker
from phoundry.serving.batch.requests import Bad, Request, read
from phoundry.serving.batch.scoring import Scoring
from phoundry.serving.engines.registry import open_engine
from phoundry.serving.listen import run
from phoundry.serving.replica.app import ReplicaApp
from phoundry.serving.replica.assembly import engine_spec
from phoundry.serving.replica.defaults import check
from phoundry.serving.replica.generation import Generator
from phoundry.serving.replica.model import ServedModel
from phoundry.specs.deployment import GenerationDefaults
from phoundry.spool import Spool
from phoundry.worker import main


def batch(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """Load, answer what is left, tell how far it is."""
    answers = Answers.open(run_dir / "output")
    lines = int(spec["lines"])
    begun = time.monotonic()
    before = answers.counts.completion_tokens
    if answers.counts.done < lines:
        app, generator, token = _application(spec)
        facts = {"slots": generator.engine.slots, "context_length": generator.engine.context_length}
        spool.append("started", engine=spec["engine"], lines=lines, **facts)
        scoring = Scoring(
            todo=_left(spec, answers.counts.done),
            answers=answers,
            ask=Asker(app, token).ask,
            slots=generator.engine.slots,
            tell=_Teller(spool, lines, answers.counts),
            most_broken=max(16, 2 * generator.engine.slots),
        )
        _run(scoring, generator)
    counts, seconds = answers.counts, time.monotonic() - begun
    rate = (counts.completion_tokens - before) / seconds if seconds else 0.0
    metrics = {
        "requests": counts.done,
        "failed": counts.failed,
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "tokens_per_second": round(rate, 2),
    }
    return {"metrics": metrics, "output": "output"}


def _application(spec: dict[str, Any]) -> tuple[ReplicaApp, Generator, str]:
    tokenizer = ChatTokenizer.load(Path(spec["tokenizer_dir"]))
    loaded = engine_spec(spec, frozenset(tokenizer.end_token_ids))
    defaults = GenerationDefaults.model_validate(spec.get("defaults") or {})
    check(defaults, tokenizer, loaded.context_length)
    generator = Generator(open_engine(spec["engine"], loaded), tokenizer)
    token = secrets.token_urlsafe(32)
    model = ServedModel(generator, spec["model_name"], lambda: defaults)
    app = ReplicaApp(model, token=token)
    app.ready = True  # the first line is the warm-up
    return app, generator, token


def _left(spec: dict[str, Any], done: int) -> Iterator[Request | Bad]:
    return islice(read(Path(spec["input_path"]), spec["input_name"]), done, None)


def _run(scoring: Scoring, generator: Generator) -> None:
    """Raises Cancelled after SIGTERM. An engine's failure is told as what it is."""
    trouble: list[PhoundryError] = []

    async def scored() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        # Inside the loop: an exception out of a signal handler could cut into what is written.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            await scoring.run(stop)
        except PhoundryError as error:
            trouble.append(error)
        finally:
            await generator.engine.close()

    run(scored())
    if trouble:
        raise trouble[0]


class _Teller:
    """Says once a second how far it is."""

    def __init__(self, spool: Spool, lines: int, before: Counts) -> None:
        self._spool, self._lines = spool, lines
        self._done, self._tokens = before.done, before.completion_tokens

    def __call__(self, counts: Counts, seconds: float) -> None:
        answered = counts.done - self._done
        left = (self._lines - counts.done) * seconds / answered if answered else None
        rate = (counts.completion_tokens - self._tokens) / seconds if seconds else None
        self._spool.append(
            "progress",
            step=counts.done,
            max_steps=self._lines,
            unit="line",
            failed=counts.failed,
            tokens=counts.prompt_tokens + counts.completion_tokens,
            tokens_per_second=None if rate is None else round(rate, 2),
            seconds_left=None if left is None else round(left, 1),
        )


if __name__ == "__main__":
    main(batch)
