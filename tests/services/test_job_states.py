"""Jobs that are paused, resumed, cancelled, killed, stopped and started in any order."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from phoundry.errors import Conflict
from phoundry.services import jobs
from phoundry.services.context import open_context
from phoundry.services.reconcile import jobs as reconcile_jobs
from phoundry.services.reconcile import tasks as reconcile_tasks
from phoundry.settings import Home
from phoundry.specs.job import FINISHED, RESTING, FineTuningJobSpec, Job
from phoundry.worker import stop_reason
from tests.services.fake_workers import MODEL, FakeWorkers
from tests.support.assets import make_asset

# What was asked for last -> how it may end.
ENDS = {
    "go": {"Completed"},
    "pause": {"Paused", "Completed"},
    "cancel": {"Canceled", "Completed"},
    "killed": {"Failed"},
}


class Jobs(RuleBasedStateMachine):
    """`asked` is what the user wants of each job; everything else may happen at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        self.fleet = FakeWorkers()
        self.fleet.install(self.patch)
        self.context = open_context(Home(self.folder / "home"))
        answer = {"role": "assistant", "content": "!"}
        rows = [{"messages": [{"role": "user", "content": each}, answer]} for each in "ab"]
        content = "".join(json.dumps(row) + "\n" for row in rows)
        make_asset(self.context, content.encode())
        self.asked: dict[str, str] = {}
        self.create()
        self.tick()
        self.work()  # the base model is there once and for all
        self.tick()
        assert self.fleet.running

    def teardown(self) -> None:
        try:
            self.every_wish_comes_true()
        finally:
            self.patch.undo()
            self.context.database.close()
            shutil.rmtree(self.folder)

    def all(self) -> list[Job]:
        return jobs.listing(self.context)

    def pick(self, number: int) -> Job:
        """Rather one that is under way: most that can go wrong goes wrong there."""
        known = sorted(self.all(), key=lambda job: job.status in (*RESTING, "Queued"))
        return known[number % len(known)]

    def process_of(self, job: Job) -> Path | None:
        folder = Path(job.run_dir)
        return folder if folder in self.fleet.running else None

    @rule()
    def create(self) -> None:
        name = f"job-{len(self.asked)}"
        values = {"name": name, "model": MODEL, "training_data": "faq"}
        jobs.create(self.context, FineTuningJobSpec.model_validate(values))
        self.asked[name] = "go"

    @rule(number=st.integers(0, 2))
    def pause(self, number: int) -> None:
        job = self.pick(number)
        if job.status in RESTING or job.status == "CancelRequested":
            with pytest.raises(Conflict):
                jobs.pause(self.context, job.name)
        else:
            assert jobs.pause(self.context, job.name).status in ("PauseRequested", "Paused")
            self.asked[job.name] = "pause"

    @rule(number=st.integers(0, 2))
    def cancel(self, number: int) -> None:
        job = self.pick(number)
        if job.status in FINISHED:
            with pytest.raises(Conflict):
                jobs.cancel(self.context, job.name)
        else:
            assert jobs.cancel(self.context, job.name).status in ("CancelRequested", "Canceled")
            self.asked[job.name] = "cancel"

    @rule(number=st.integers(0, 2))
    def resume(self, number: int) -> None:
        job = self.pick(number)
        if job.status in ("Failed", "Canceled", "Paused"):
            assert jobs.resume(self.context, job.name).status == "Queued"
            self.asked[job.name] = "go"
        else:
            with pytest.raises(Conflict):
                jobs.resume(self.context, job.name)

    @rule()
    def tick(self) -> None:
        reconcile_tasks.tick(self.context)
        reconcile_jobs.tick(self.context)

    @rule()
    def work(self) -> None:
        """Every worker ends what it does; one that was told to stop may do so too."""
        self.fleet.work()

    @rule()
    def obey(self) -> None:
        """Those that were told to stop do it; one that is cancelled writes its output."""
        for folder in list(self.fleet.terminated):
            if folder in self.fleet.running and stop_reason(folder) == "cancel":
                (folder / "output" / "adapter").mkdir(parents=True, exist_ok=True)
                self.fleet.end(folder, "cancelled", output=str(folder / "output"))
        self.fleet.stop()

    @rule(number=st.integers(0, 2))
    def kill(self, number: int) -> None:
        """Memory ran out."""
        job = self.pick(number)
        if (folder := self.process_of(job)) is not None:
            self.fleet.kill(folder)
            # One that a stopped Phoundry had told to end is simply started again.
            if self.asked[job.name] == "go" and job.status == "Running":
                self.asked[job.name] = "killed"

    @rule()
    def down(self) -> None:
        """`phoundry down`; the next tick is the next start."""
        for job in self.all():
            # Nobody has seen its end: like every other that ran, it is started again.
            if self.asked[job.name] == "killed" and job.status == "Running":
                self.asked[job.name] = "go"
        reconcile_jobs.pause_all(self.context)

    @invariant()
    def one_at_a_time(self) -> None:
        assert sum(job.status not in ("Queued", *RESTING) for job in self.all()) <= 1

    @invariant()
    def what_rests_has_no_process(self) -> None:
        for job in self.all():
            if job.status in RESTING:
                assert self.process_of(job) is None

    @invariant()
    def nothing_else_is_asked_of_a_worker(self) -> None:
        for job in self.all():
            folder = self.process_of(job)
            if folder is not None and folder in self.fleet.terminated:
                wanted = "cancel" if self.asked[job.name] == "cancel" else "pause"
                assert stop_reason(folder) == wanted

    def every_wish_comes_true(self) -> None:
        for _ in range(4 * len(self.asked) + 4):
            self.tick()
            self.obey()
            self.work()
        self.tick()
        for job in self.all():
            assert job.status in ENDS[self.asked[job.name]], job


Jobs.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestJobs = Jobs.TestCase
