"""The training loop: `train(spec, reporter, checkpoints)`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch

from phoundry.errors import Cancelled, ModelError
from phoundry.training import machine
from phoundry.training.batch import rows_of_step
from phoundry.training.checkpoints.folder import Checkpoint, CheckpointFolder
from phoundry.training.checkpoints.state import random_state, restore_random_state
from phoundry.training.evaluation.stopping import check_can_judge, wants_best
from phoundry.training.interrupt import StopSwitch
from phoundry.training.replay import write_replay
from phoundry.training.report import announce, notice, tell_evaluation, tell_stopped_early
from phoundry.training.run import Run, prepare
from phoundry.training.schedule import factor
from phoundry.training.spec import Reporter, TrainingResult, TrainingSpec
from phoundry.training.waiting import Waiting, changes


def train(
    spec: TrainingSpec,
    reporter: Reporter,
    checkpoints: CheckpointFolder,
    *,
    stop: StopSwitch | None = None,
) -> TrainingResult:
    """Fine-tune, from the newest whole checkpoint where there is one, and write the output.

    The loss of a step is the sum over its supervised tokens divided by their number, whatever the
    rows they came in. On a CPU a run that was killed and resumed ends with the same bits as one
    that was not. When `stop` is pressed, a checkpoint is written; and if its reason is "cancel",
    the output too, from the best evaluated state so far.

    Raises:
        InvalidInput: nothing to learn from, an architecture that is not known here, or the best
            state is asked for and there is nothing to evaluate.
        InsufficientResources: it would not fit the memory; said before anything is loaded.
        Conflict: the checkpoints belong to a run with other data or parameters.
        ModelError: the training diverged; the checkpoints stay.
        Cancelled: `stop` was pressed to pause, or before the first step; the checkpoints stay.
    """
    started = time.monotonic()
    switch = stop or StopSwitch()
    check_can_judge(spec.parameters, validation=spec.validation_path is not None)
    with switch.abandoning():
        loop = _Loop(prepare(spec, reporter, checkpoints, switch))
    cancelled = False
    with Waiting(active=changes(loop.run.model.device.type)):
        try:
            loop.go()
        except Cancelled:
            loop.settle_down()
            if switch.reason() == "pause" or loop.run.step == 0:
                raise
            cancelled = True
        return loop.finish(started, cancelled=cancelled)


class _Loop:
    """Steps, evaluations and checkpoints of one run, in their order."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._step_random = random_state(run.model.device)
        self._saved: tuple[int, int | None] | None = None

    def go(self) -> None:
        """Every step that is left."""
        run = self.run
        trained = sum(weight.numel() for weight in run.optimizer.weights.values())
        threads = torch.get_num_threads()
        announce(run.reporter, run.plan, step=run.step, trained=trained, threads=threads)
        if self._evaluate() and run.step:  # a checkpoint that was written before its evaluation
            self._save()
        for packs in self._steps_left():
            self._train_step(packs)
            best = self._evaluate()
            run.report()
            if best or run.epoch_end or run.step == run.plan.max_steps or run.clock.due():
                self._save()
            if run.tally.standing.stopped:
                break

    def settle_down(self) -> None:
        """After an interruption: back to the end of the last step, and a checkpoint of it."""
        run = self.run
        restore_random_state(self._step_random, run.model.device)
        if run.step and self._saved != (run.step, run.tally.evaluated_step):
            self._save()

    def finish(self, started: float, *, cancelled: bool) -> TrainingResult:
        """Write the output: of the best state where that is asked for, else of the last."""
        run = self.run
        best = run.tally.standing.best_step
        output_step = run.step
        if cancelled or wants_best(run.plan.parameters):
            output_step = run.step if best is None else best
            self._say_if_worse_than_base()
        else:
            self._say_if_last_is_worse_than_base()
        if output_step != run.step:
            run.load_weights(run.checkpoints.load(output_step))
            run.reporter.line(f"The output is the state of step {output_step}, the best one.")
        output = run.model.save(run.spec.output_dir)
        self._keep_replay()
        rate, tally = run.meter.rate(), run.tally
        return TrainingResult(
            steps=run.step,
            train_loss=tally.epoch_loss(),
            evaluation=tally.best if output_step == best else tally.evaluated,
            first_evaluation=tally.first,
            tokens=tally.tokens,
            seconds=time.monotonic() - started,
            tokens_per_second=rate,
            mfu=run.meter.mfu(rate),
            peak_memory=machine.peak_memory(),
            output=output,
            output_step=output_step,
            best_step=best,
            best_metric=tally.standing.best_metric,
            cancelled=cancelled,
        )

    def _keep_replay(self) -> None:
        """What the deploy gate replays, of what was held out, else of what was trained on."""
        spec, plan = self.run.spec, self.run.plan
        samples, path = plan.samples, spec.train_path
        if plan.validation is not None and spec.validation_path is not None:
            samples, path = plan.validation, spec.validation_path
        write_replay(
            spec.output_dir,
            self.run.model,
            samples,
            path,
            spec.checkpoint_dir,
            plan.parameters,
            context=plan.draft.shape.context_length,
        )

    def _steps_left(self) -> Iterator[list[list[int]]]:
        """The packs of each step to come. Where the sampler is, is a function of the step."""
        run, order = self.run, self.run.plan.order
        while run.step < run.plan.max_steps and not run.tally.standing.stopped:
            epoch, done = divmod(run.step, order.steps_per_epoch)
            left = run.plan.max_steps - run.step
            yield from order.steps(epoch)[done : done + left]

    def _train_step(self, packs: list[list[int]]) -> None:
        run, begun = self.run, time.monotonic()
        self._step_random = random_state(run.model.device)
        plan = run.plan
        rows = rows_of_step(packs, plan.samples, plan.choices.row_tokens, share=plan.draft.share)
        targets = sum(len(row.targets) for row in rows)
        tokens = sum(row.tokens for row in rows)
        loss_sum = 0.0
        for row in rows:
            with run.stop.abandoning():
                loss = run.model.loss_sum(row)
                torch.autograd.backward(loss / targets)
                run.optimizer.collect()
                loss_sum += float(loss.detach())
        self._check_finite(loss_sum)
        p = run.plan.parameters
        run.optimizer.step(p.learning_rate * self._share(run.step))
        self._step_random = random_state(run.model.device)
        run.step += 1
        run.tally.add(tokens=tokens, targets=targets, loss_sum=loss_sum)
        run.meter.count(tokens=tokens, seconds=time.monotonic() - begun)
        run.learning_rate = p.learning_rate * self._share(run.step - 1)
        if run.epoch_end:
            run.tally.close_epoch()

    def _check_finite(self, loss_sum: float) -> None:
        """What is no number any more never becomes one again."""
        if math.isfinite(loss_sum):
            return
        step, rate = self.run.step + 1, self.run.plan.parameters.learning_rate
        raise ModelError(
            f"The loss of step {step} is {loss_sum}: the training diverged.",
            remedy=f"Start a new job with a learning_rate below {rate:g}, or with warmup_steps.",
        )

    def _share(self, step: int) -> float:
        p = self.run.plan.parameters
        return factor(
            p.lr_scheduler_type,
            step,
            warmup=p.warmup_steps,
            total=self.run.plan.max_steps,
            learning_rate=p.learning_rate,
        )

    def _evaluate(self) -> bool:
        """Evaluate if it is time; whether it is the best so far."""
        run, tally = self.run, self.run.tally
        due = run.times.due(run.step) and tally.evaluated_step != run.step
        if run.evaluator is None or not due:
            return False
        found = run.evaluator.run(run.step)
        metrics = found.metrics()
        run.meter.evaluation_seconds = found.seconds
        tally.evaluated_step, tally.evaluated = run.step, metrics
        best = False
        if run.step == 0:
            tally.first = metrics
        else:
            verdict = run.judge.take(run.step, metrics[f"eval_{run.judge.metric}"])
            best = verdict.best
            if best:
                tally.best = metrics
        tell_evaluation(run.reporter, found, step=run.step, epoch=run.epoch, best=best)
        if tally.standing.stopped:
            tell_stopped_early(run.reporter, tally.standing, run.plan.parameters, run.step)
        return best

    def _save(self) -> None:
        run, begun = self.run, time.monotonic()
        tensors, numbers = run.optimizer.state()
        state = {
            "identity": run.identity,
            "threads": torch.get_num_threads(),
            "numbers": numbers,
            "tally": run.tally.to_json(),
        }
        best = run.tally.standing.best_step
        run.checkpoints.save(
            Checkpoint(run.step, run.epoch_end, state, {**tensors, **self._step_random}, best)
        )
        self._saved = (run.step, run.tally.evaluated_step)
        run.reporter.event("checkpoint", step=run.step, best=best == run.step)
        run.clock.saved(begun)

    def _say_if_worse_than_base(self) -> None:
        run, standing = self.run, self.run.tally.standing
        base = run.tally.first.get(f"eval_{run.judge.metric}")
        if standing.best_metric is None or base is None:
            return
        if not run.judge.better(standing.best_metric, base):
            notice(
                run.reporter,
                f"No evaluation was better than the base model's: its {run.judge.metric} was "
                f"{base:.4f}, the best trained one {standing.best_metric:.4f} at step "
                f"{standing.best_step}. The output is that state.",
            )

    def _say_if_last_is_worse_than_base(self) -> None:
        run, standing = self.run, self.run.tally.standing
        metric, tally = run.judge.metric, self.run.tally
        base, last = (told.get(f"eval_{metric}") for told in (tally.first, tally.evaluated))
        if base is None or last is None or tally.evaluated_step != run.step:
            return
        if run.judge.better(last, base) or last == base:
            return
        kept = ""
        if standing.best_metric is not None and run.judge.better(standing.best_metric, base):
            kept = (
                f" Step {standing.best_step} was better ({standing.best_metric:.4f}): "
                "load_best_model_at_end=true gives that state out."
            )
        notice(
            run.reporter,
            f"On what was held out the output is worse than the base model: its {metric} is "
            f"{last:.4f}, the base model's was {base:.4f}.{kept} Fewer epochs or a lower "
            "learning_rate keep more of the base model.",
        )
