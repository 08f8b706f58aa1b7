"""A few real steps before the start: how fast each candidate is, on the rows that will be trained.

They run on a model of their own, which is thrown away, and torch's random state is put back. So the
run that follows begins with exactly the weights, the empty optimizer and the random numbers it
would have begun with.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from phoundry.specs.job import Choice
from phoundry.training import device, machine
from phoundry.training.batch import Row, make_row, rows_of_step
from phoundry.training.evaluation.questions import TOGETHER
from phoundry.training.model import TunedModel
from phoundry.training.optimizer import MasterOptimizer
from phoundry.training.planning.choices import Choices, Precision, Speed
from phoundry.training.planning.choose import Options, recompute_entry
from phoundry.training.planning.draft import Draft
from phoundry.training.planning.duration import asked_questions
from phoundry.training.spec import TrainingSpec
from phoundry.training.waiting import Waiting, changes

# Seconds after which no further candidate is begun.
BUDGET_SECONDS = 20.0
# Rows timed for each candidate; one more, a short one, goes before the first.
TIMED_ROWS = 2
WARM_TOKENS = 256
GENERATED = 12
WRITTEN_BYTES = 16_000_000
# Another value than the usual one is taken only if it is faster by more than chance.
CLEARLY = 1.03
Say = Callable[[str], None]


@dataclass
class Measurements:
    """Of each candidate that was tried, tokens a second: whole ones (`rows.py`), and computed ones
    of each row. `started`: the process's age in seconds."""

    computed: dict[int, float] = field(default_factory=dict[int, float])
    rows: dict[int, float] = field(default_factory=dict[int, float])
    precisions: dict[Precision, float] = field(default_factory=dict[Precision, float])
    started: float = field(default_factory=machine.process_seconds)
    deadline: float = field(default_factory=lambda: time.monotonic() + BUDGET_SECONDS)

    def in_time(self, row: int) -> bool:
        """Whether a trial with rows of so many tokens would probably end before the deadline."""
        if not self.computed:
            return True
        seconds = TIMED_ROWS * row / statistics.median(self.computed.values())
        return time.monotonic() + seconds <= self.deadline


def calibrate(
    spec: TrainingSpec,
    draft: Draft,
    options: Options,
    say: Say | None = None,
    *,
    only_usual: bool = False,
) -> Choices:
    """Time the candidates and choose. `only_usual`: time the usual one, choose nothing.

    Rows are compared in the precision that was resolved, the usual one first; then the other
    precision in the shortest of them, where it takes the least memory.
    """
    say = say or _hear_nothing
    threads = torch.get_num_threads()
    torch.set_num_threads(machine.cores())
    try:
        where = device.chosen().type
        with (
            torch.random.fork_rng(devices=[0] if where == "cuda" else []),
            Waiting(active=changes(where)),
        ):
            return _calibrate(spec, draft, options, say, only_usual)
    finally:
        torch.set_num_threads(threads)


def _calibrate(
    spec: TrainingSpec, draft: Draft, options: Options, say: Say, only_usual: bool
) -> Choices:
    found = Measurements()
    precision = options.precisions[0]
    rehearsal = Rehearsal(spec, draft, precision, recompute=options.recompute)
    for row in [options.row] if only_usual else _in_order(options):
        if not found.in_time(row):
            continue
        found.computed[row] = rehearsal.computed_per_second(row)
        rate = found.rows[row] = found.computed[row] / draft.rows(row).computed_share
        say(f"Measured: rows of {row} tokens, {rate:.0f} tokens a second.")
    row = _best_row(options, found.rows)
    speed = rehearsal.speed(found.rows[row], row, found.started)
    del rehearsal
    gc.collect()
    if not only_usual and len(options.precisions) > 1:
        precision, speed = _compare_precisions(spec, draft, options, found, speed)
    return Choices(
        precision=precision,
        row_tokens=row,
        recompute=options.recompute,
        batch=options.batch,
        entries=_entries(draft, options, precision, row, found),
        speed=speed,
    )


def _compare_precisions(
    spec: TrainingSpec,
    draft: Draft,
    options: Options,
    found: Measurements,
    speed: Speed,
) -> tuple[Precision, Speed]:
    """The faster precision, and the speed with it."""
    resolved, other = options.precisions[:2]
    row = min(found.rows)
    if not found.in_time(row):
        return resolved, speed
    rehearsal = Rehearsal(spec, draft, other, recompute=options.recompute)
    rate = rehearsal.computed_per_second(row) / draft.rows(row).computed_share
    found.precisions = {resolved: found.rows[row], other: rate}
    if rate < CLEARLY * found.rows[row]:
        return resolved, speed
    return other, rehearsal.speed(rate, row, found.started)


def _in_order(options: Options) -> list[int]:
    """The usual row first: where time is short, it is the one that is known."""
    return sorted(options.rows, key=lambda row: (row != options.row, row))


class Rehearsal:
    """The model and an optimizer, to be thrown away, and the rows of the first steps."""

    def __init__(
        self, spec: TrainingSpec, draft: Draft, precision: Precision, *, recompute: bool
    ) -> None:
        p = draft.parameters.model_copy(update={"precision": precision})
        before = time.perf_counter()
        self.draft, self.folder = draft, spec.output_dir.parent
        self.model = TunedModel(spec.checkpoint_dir, p, recompute=recompute, device=device.chosen())
        self.optimizer = MasterOptimizer(self.model.trainable(), p)
        self.load_seconds = time.perf_counter() - before
        self._train(self._short_row())

    def computed_per_second(self, row_tokens: int) -> float:
        """Median over a few rows of the first steps, forward and backward: computed tokens, for
        rows share more or less, and few say nothing of the others."""
        rates: list[float] = []
        for row in self._rows(row_tokens):
            begun = time.perf_counter()
            self._train(row)
            rates.append(len(row.token_ids) / (time.perf_counter() - begun))
        return statistics.median(rates)

    def speed(self, tokens_per_second: float, row_tokens: int, started: float) -> Speed:
        """What else of a run takes time. `started`: seconds of this process before calibrating."""
        share = 1.0
        if self.draft.validation is not None:
            share = self.draft.evaluated_rows(row_tokens).computed_share
        row = next(self._rows(WARM_TOKENS))
        self.optimizer.step(0.0)  # the first makes the optimizer's state
        self._train(row)
        optimizer_seconds = _seconds(lambda: self.optimizer.step(0.0))
        self.model.measure(row)  # the first of a size sets the matrix library up
        evaluated = _seconds(lambda: self.model.measure(row))
        return Speed(
            tokens_per_second=tokens_per_second,
            optimizer_seconds=optimizer_seconds,
            evaluated_per_second=len(row.token_ids) / evaluated / share,
            generated_per_second=self._generated_per_second(),
            written_per_second=machine.write_rate(self.folder, WRITTEN_BYTES),
            start_seconds=started + self.load_seconds,
            peak_bytes=machine.peak_memory(),
        )

    def _generated_per_second(self) -> float | None:
        """Of as many answers as are made together; None where none is asked for."""
        count = min(TOGETHER, asked_questions(self.draft, self.draft.parameters))
        if self.draft.validation is None or not count:
            return None
        prompts = [self.draft.validation[0].token_ids[:WARM_TOKENS]] * count

        def answer(tokens: int) -> float:
            most = [tokens] * count
            return _seconds(lambda: self.model.generate(prompts, max_new_tokens=most, stop=()))

        answer(2)  # sets the matrix library up
        reading, whole = answer(1), answer(1 + GENERATED)
        # Never under half: on a busy machine the first may have been the slow one.
        return count * GENERATED / max(whole - reading, whole / 2)

    def _train(self, row: Row) -> None:
        loss = self.model.loss_sum(row)
        torch.autograd.backward(loss / max(1, len(row.targets)))
        self.optimizer.collect()

    def _rows(self, row_tokens: int) -> Iterator[Row]:
        """A few rows of the first steps, laid out as the run will: the same for each candidate."""
        left = TIMED_ROWS
        for epoch in range(TIMED_ROWS):
            for packs in self.draft.order.steps(epoch):
                for row in rows_of_step(
                    packs, self.draft.samples, row_tokens, share=self.draft.share
                ):
                    yield row
                    left -= 1
                    if not left:
                        return

    def _short_row(self) -> Row:
        """The conversation whose length is the median."""
        lengths = self.draft.samples.lengths
        middle = sorted(range(len(lengths)), key=lengths.__getitem__)[len(lengths) // 2]
        return make_row([self.draft.samples[middle]])


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _best_row(options: Options, rates: dict[int, float]) -> int:
    """The usual row unless another is clearly faster."""
    best = max(rates, key=rates.__getitem__)
    return best if rates[best] >= CLEARLY * rates[options.row] else options.row


def _entries(
    draft: Draft, options: Options, precision: Precision, row: int, found: Measurements
) -> list[Choice]:
    timed = {str(tokens): round(rate, 1) for tokens, rate in found.rows.items()}
    untried = [str(tokens) for tokens in options.rows if tokens not in found.rows]
    why = "the fastest in a few real steps" if len(timed) > 1 else "the usual one"
    if untried:
        why += f"; not tried: {', '.join(untried)}"
    rates = {str(name): round(rate, 1) for name, rate in found.precisions.items()}
    reason = "the faster in a few real steps" if rates else "not compared with another"
    return [
        Choice(name="precision", value=precision, why=reason, measured=rates),
        Choice(name="row_tokens", value=str(row), why=why, measured=timed),
        *recompute_entry(draft, options),
    ]


def _hear_nothing(text: str) -> None:
    """For callers that don't ask."""
