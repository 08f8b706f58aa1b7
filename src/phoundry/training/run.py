"""Everything a run is made of, built anew or from its newest checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from phoundry.training import device, machine
from phoundry.training.checkpoints.folder import Checkpoint, CheckpointFolder
from phoundry.training.checkpoints.identity import check_same, identity
from phoundry.training.checkpoints.state import Tally, restore_random_state, split_random_state
from phoundry.training.determinism import settle
from phoundry.training.evaluation.cadence import CheckpointClock, EvaluationTimes
from phoundry.training.evaluation.evaluator import Evaluator
from phoundry.training.evaluation.questions import SCORED, Questions
from phoundry.training.evaluation.stopping import Judge
from phoundry.training.interrupt import StopSwitch
from phoundry.training.model import TunedModel
from phoundry.training.optimizer import MasterOptimizer
from phoundry.training.planning.matmul import best_rate
from phoundry.training.planning.plan import Choices, Plan, load_choices, make_plan, save_choices
from phoundry.training.progress import Meter
from phoundry.training.report import notice
from phoundry.training.spec import Reporter, TrainingSpec

# The machine's best rate is measured (about 1e11 operations) where the run is at least so long.
WORTH_MEASURING = 5e12


@dataclass(slots=True)
class Run:
    """One fine-tune between two of its steps."""

    spec: TrainingSpec
    reporter: Reporter
    checkpoints: CheckpointFolder
    stop: StopSwitch
    plan: Plan
    model: TunedModel
    optimizer: MasterOptimizer
    evaluator: Evaluator | None
    times: EvaluationTimes
    judge: Judge
    meter: Meter
    clock: CheckpointClock
    tally: Tally
    identity: dict[str, Any]
    step: int = 0
    learning_rate: float = 0.0

    @property
    def epoch(self) -> float:
        return self.step / self.plan.order.steps_per_epoch

    @property
    def epoch_end(self) -> bool:
        return self.step > 0 and self.step % self.plan.order.steps_per_epoch == 0

    def report(self) -> None:
        """Say where the run is, if it is time to."""
        self.meter.report(
            self.tally,
            step=self.step,
            epoch=self.epoch,
            epoch_end=self.epoch_end,
            learning_rate=self.learning_rate,
            evaluations_left=0 if self.evaluator is None else self.times.left(self.step),
            writing=self.clock.share(),
        )

    def load_weights(self, checkpoint: Checkpoint) -> None:
        """Weights and optimizer as they were at `checkpoint`."""
        _, tensors = split_random_state(dict(checkpoint.tensors))
        self.optimizer.restore(tensors, checkpoint.state["numbers"])


def prepare(
    spec: TrainingSpec, reporter: Reporter, checkpoints: CheckpointFolder, stop: StopSwitch
) -> Run:
    """A run at its start, or where its newest whole checkpoint left it.

    Raises:
        Conflict: the checkpoints belong to a run with other data or parameters.
    """
    plan, mine, found = _plan(spec, reporter, checkpoints)
    # Another number of threads would round differently: a resumed run keeps its own.
    threads = int(found.state["threads"]) if found else machine.cores()
    p = plan.parameters
    settle(seed=p.seed, full=p.enable_full_determinism, threads=threads)
    where = device.chosen()
    model = TunedModel(spec.checkpoint_dir, p, recompute=plan.choices.recompute, device=where)
    tally = Tally.from_json(found.state["tally"]) if found else Tally()
    run = Run(
        spec=spec,
        reporter=reporter,
        checkpoints=checkpoints,
        stop=stop,
        plan=plan,
        model=model,
        optimizer=MasterOptimizer(model.trainable(), p),
        evaluator=_evaluator(spec, plan, model, reporter, stop),
        times=EvaluationTimes.of(
            p, steps_per_epoch=plan.order.steps_per_epoch, max_steps=plan.max_steps
        ),
        judge=Judge(p, tally.standing),
        meter=_meter(plan, model, reporter),
        clock=CheckpointClock(checkpoints.every_seconds),
        tally=tally,
        identity=mine,
    )
    if found is not None:
        run.step = found.step
        run.load_weights(found)
        random, _ = split_random_state(dict(found.tensors))
        restore_random_state(random, model.device)
    return run


def _plan(
    spec: TrainingSpec, reporter: Reporter, checkpoints: CheckpointFolder
) -> tuple[Plan, dict[str, Any], Checkpoint | None]:
    """The plan, with the choices that the run made at its start; what the run is; and where it goes
    on from."""
    folder = checkpoints.path.parent
    if not spec.parameters.resume_from_checkpoint:
        checkpoints.clear()
        plan = make_plan(spec, reporter.line)
        save_choices(folder, plan.choices)
        return plan, identity(spec, plan), None
    choices = _choices_of(folder, spec)
    plan = make_plan(spec, reporter.line, choices=choices)
    if choices is None:
        save_choices(folder, plan.choices)
    mine = identity(spec, plan)
    found = checkpoints.latest(lambda message: notice(reporter, message))
    if found is not None:
        check_same(found.state["identity"], mine, str(checkpoints.path))
    checkpoints.go_on_from(found.step if found else 0)
    return plan, mine, found


def _choices_of(folder: Path, spec: TrainingSpec) -> Choices | None:
    """The choices in the run's folder, unless the user has meanwhile set what they chose."""
    choices = load_choices(folder)
    p = spec.parameters
    if choices and spec.sources.get("precision") == "user" and choices.precision != p.precision:
        return None
    return choices


def _evaluator(
    spec: TrainingSpec, plan: Plan, model: TunedModel, reporter: Reporter, stop: StopSwitch
) -> Evaluator | None:
    if plan.validation is None:
        return None
    p = plan.parameters
    questions = None
    if p.sample_generations or p.metric_for_best_model != "loss":
        context = plan.draft.shape.context_length
        questions = Questions(plan.validation, spec.checkpoint_dir, p, context=context)
    if questions is not None and questions.scored == SCORED < len(plan.validation):
        notice(
            reporter,
            f"f1 and exact are taken of the first {SCORED} of {len(plan.validation)} validation "
            "conversations: each costs an answer, token by token.",
        )
    rows = plan.evaluation_rows(plan.choices.row_tokens)
    return Evaluator(model, rows, questions, stop)


def _meter(plan: Plan, model: TunedModel, reporter: Reporter) -> Meter:
    p = plan.parameters
    by_steps = p.logging_strategy == "steps"
    limit = None
    if plan.tokens * plan.flops_per_token >= WORTH_MEASURING:
        dtype = torch.bfloat16 if p.precision == "16" else torch.float32
        limit = best_rate(dtype, model.device)
    return Meter(
        plan.max_steps,
        plan.tokens,
        reporter,
        p.logging_steps if by_steps else None,
        flops_per_token=plan.flops_per_token,
        flops_per_second_limit=limit,
    )
