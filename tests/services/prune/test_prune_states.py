"""Whatever was done before, all that worked before a pruning works after it."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from phoundry.errors import PhoundryError
from phoundry.files import read_json
from phoundry.services import data, deployments, endpoints, jobs, models, prune
from phoundry.services.context import open_context
from phoundry.settings import Home
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec
from phoundry.specs.job import FineTuningJobSpec
from phoundry.specs.model import ModelSpec
from tests.services.fake_workers import MODEL, FakeWorkers
from tests.services.prune.conftest import aged, put
from tests.services.test_reconcile import advance, tick
from tests.support.assets import make_asset

OTHER = "smollm2-360m-instruct"


class Pruned(RuleBasedStateMachine):
    """Assets, jobs, models and deployments come and go; prunings come in between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        self.fleet = FakeWorkers()
        self.fleet.install(self.patch)
        self.context = open_context(Home(self.folder / "home"))
        endpoints.create(self.context, EndpointSpec(name="faq-bot"))
        self.made = 0

    def teardown(self) -> None:
        self.patch.undo()
        self.context.database.close()
        shutil.rmtree(self.folder)

    def number(self) -> int:
        self.made += 1
        return self.made

    @rule(name=st.sampled_from(["faq", "law"]))
    def create_data(self, name: str) -> None:
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
        rows = [
            {
                "messages": [
                    *turns,
                    *turns,
                    {"role": "user", "content": str(self.number())},
                    {"role": "assistant", "content": "a"},
                ]
            }
            for _ in range(4)
        ]
        make_asset(
            self.context, "".join(json.dumps(row) + "\n" for row in rows).encode(), name=name
        )

    @precondition(lambda self: data.listing(self.context))
    @rule(pick=st.integers(0))
    def delete_data(self, pick: int) -> None:
        assets = data.listing(self.context)
        asset = assets[pick % len(assets)]
        with suppress(PhoundryError):  # a job uses it
            data.delete(self.context, f"{asset.name}:{asset.version}")

    @precondition(lambda self: data.listing(self.context))
    @rule(model=st.sampled_from([MODEL, OTHER]), ends=st.sampled_from(["no", "yes", "failed"]))
    def train(self, model: str, ends: str) -> None:
        asset = data.listing(self.context)[0]
        name = f"job-{self.number()}"
        values = {"name": name, "model": model, "training_data": f"{asset.name}:{asset.version}"}
        jobs.create(self.context, FineTuningJobSpec.model_validate(values))
        for _ in range(3):
            tick(self.context)
            self.work(training=ends == "yes")
        tick(self.context)
        folder = self.context.home.run("job", name)
        put(folder / "checkpoints" / "step-1" / "x")
        if ends == "failed" and folder in self.fleet.running:
            told = self.fleet.running[folder].spec
            (folder / "spec.json").write_text(json.dumps(told))
            self.fleet.end(folder, "failed")
            tick(self.context)

    def work(self, *, training: bool) -> None:
        """As the fleet's own, but a training may go on for ever."""
        held = {k: v for k, v in self.fleet.running.items() if v.module == "phoundry.training"}
        if not training:
            for folder in held:
                del self.fleet.running[folder]
        self.fleet.work()
        if not training:
            self.fleet.running.update(held)
            for folder, started in held.items():
                (folder / "spec.json").write_text(json.dumps(started.spec))

    @precondition(lambda self: any(j.status == "Completed" for j in jobs.listing(self.context)))
    @rule()
    def register(self) -> None:
        done = [job for job in jobs.listing(self.context) if job.status == "Completed"]
        models.register(self.context, ModelSpec(name="bot", job=done[0].name))
        for _ in range(3):
            tick(self.context)
            self.work(training=False)
        tick(self.context)

    @rule(pick=st.integers(0))
    def deploy(self, pick: int) -> None:
        known = [
            MODEL,
            OTHER,
            *(f"{m.name}:{m.version}" for m in models.listing(self.context) if m.status == "Ready"),
        ]
        name = f"dep-{self.number()}"
        spec = DeploymentSpec(name=name, endpoint_name="faq-bot", model=known[pick % len(known)])
        deployments.create(self.context, spec)
        for _ in range(4):
            tick(self.context)
            self.work(training=False)
        tick(self.context)

    @precondition(lambda self: deployments.listing(self.context, "faq-bot"))
    @rule(pick=st.integers(0))
    def delete_deployment(self, pick: int) -> None:
        free = [d for d in deployments.listing(self.context, "faq-bot") if not d.traffic]
        if free:
            deployments.delete(self.context, "faq-bot", free[pick % len(free)].name)
            self.fleet.stop()
            tick(self.context)

    @rule(everything=st.booleans())
    def prune(self, everything: bool) -> None:
        aged(self.context.home)
        before = {d.name: d.provisioning_state for d in self.deployed()}
        done = prune.prune(self.context, everything=everything)
        assert done.notices == []
        assert prune.plan(self.context, everything=everything).items == []
        tick(self.context)
        assert {d.name: d.provisioning_state for d in self.deployed()} == before
        self.check_files()

    def deployed(self) -> list[deployments.Deployment]:
        return deployments.listing(self.context, "faq-bot")

    def check_files(self) -> None:
        for asset in data.listing(self.context):
            for part in ("train", "test"):
                path = data.split_path(self.context, asset, part)
                assert path is None or path.exists()
        for started in self.fleet.running.values():
            for key in ("gguf_path", "checkpoint_dir", "tokenizer_dir", "train_path"):
                assert key not in started.spec or Path(started.spec[key]).exists()
        for job in jobs.listing(self.context):
            folder = self.context.home.run("job", job.name)
            if job.status in ("Failed", "Canceled", "Running"):
                # A worker that has only just started has not written its file in this fleet.
                held = self.fleet.running.get(folder)
                told = held.spec if held else read_json(folder / "spec.json")
                assert (folder / "checkpoints" / "step-1" / "x").exists()
                assert Path(told["train_path"]).exists()
            elif job.status == "Completed":
                assert (folder / "output" / "adapter").exists()
        for model in models.listing(self.context):
            if model.status == "Ready":
                assert models.show(self.context, f"{model.name}:{model.version}")

    @precondition(lambda self: any(j.status == "Failed" for j in jobs.listing(self.context)))
    @rule()
    def resume_after_all(self) -> None:
        """A failed job goes on, whatever was pruned: what it lacks is made again."""
        failed = next(j for j in jobs.listing(self.context) if j.status == "Failed")
        jobs.resume(self.context, failed.name)
        for _ in range(2 * len(jobs.listing(self.context))):  # the ones before it, one by one
            advance(self.context, self.fleet, 3)
        assert jobs.show(self.context, failed.name).status == "Completed"


Pruned.TestCase.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
TestPruned = Pruned.TestCase
