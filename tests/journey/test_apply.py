"""`apply` from file to deployment: idempotent, in place where it can be, and only its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import Conflict, InvalidInput, PhoundryError
from phoundry.services import connections, data, deployments, endpoints, jobs, models
from phoundry.services.context import Context, open_context
from phoundry.settings import Home
from phoundry.specs.yaml import dump
from tests.journey.applying import Killed, Killer, Site, actions, in_process
from tests.services.fake_workers import MODEL, FakeWorkers

PROJECT = f"""
name: faq-bot
data: {{source: faq.jsonl}}
model: {MODEL}
finetune: {{num_train_epochs: 3}}
flow: chat
"""
NOTHING = {
    "data": "nothing",
    "job": "nothing",
    "model": "nothing",
    "endpoint": "nothing",
    "deployment": "nothing",
    "connection": "nothing",
    "flow": "nothing",
}


@pytest.fixture
def site(
    context: Context,
    fleet: FakeWorkers,
    chats: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Site:
    (tmp_path / "faq.jsonl").write_bytes(chats)
    in_process(monkeypatch, context)
    return Site(context, fleet, tmp_path)


def state(context: Context) -> dict[str, Any]:
    """Everything that a user can see, without times and random secrets."""
    served = {
        endpoint.name: (
            endpoint.traffic,
            endpoint.description,
            {
                each.name: (each.model, each.provisioning_state, each.defaults.model_dump())
                for each in deployments.listing(context, endpoint.name)
            },
        )
        for endpoint in endpoints.listing(context)
    }
    keys = {name: endpoints.keys(context, name).primaryKey for name in served}
    return {
        "data": [(each.name, each.version, each.sha256) for each in data.listing(context)],
        "jobs": [(each.name, each.status, each.training_data) for each in jobs.listing(context)],
        "models": [
            (each.name, each.version, each.status, each.job) for each in models.listing(context)
        ],
        "endpoints": served,
        "connections": [
            (each.name, each.configs, connections.values(context, each.name).secrets.get("key"))
            == (each.name, each.configs, keys[each.name])
            for each in connections.listing(context)
        ],
        "flows": sorted(
            str(path.relative_to(context.home.root))
            for path in (context.home.root / "flows").rglob("*")
        ),
    }


def test_a_dry_run_changes_nothing(site: Site) -> None:
    file = site.write(PROJECT)
    before = state(site.context)
    plan = site.plan(file)
    assert set(actions(plan).values()) == {"create"}
    assert state(site.context) == before
    assert before["data"] == []
    assert not (site.context.home.root / "uploads").exists()


def test_the_plan_tells_tokens_memory_and_whether_it_fits(site: Site) -> None:
    found = {item.kind: item for item in site.plan(site.write(PROJECT)).items}["job"].forecast
    assert found is not None
    assert found.about
    assert found.tokens
    assert found.epochs == 3
    assert found.steps
    assert found.memory_bytes
    assert found.fits == (found.memory_bytes <= (found.available_bytes or 0))
    assert found.seconds is None  # nothing was measured: no figure is invented


def test_what_does_not_fit_is_said_before_anything_starts(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOUNDRY_MEMORY_LIMIT", "100000000")
    plan = site.plan(site.write(PROJECT))
    assert any("will be refused" in note for note in plan.notes)


def test_a_second_apply_changes_nothing(site: Site) -> None:
    file = site.write(PROJECT)
    assert set(actions(site.apply(file)).values()) == {"create"}
    before, starts = state(site.context), len(site.fleet.starts)
    again = site.plan(file)
    assert again.empty
    assert actions(again) == NOTHING
    site.client.apply.run(site.client.apply.read(file), again, follow=site.follow)
    assert state(site.context) == before
    assert len(site.fleet.starts) == starts


@pytest.mark.parametrize(
    "written", ["finetune: {num_train_epochs: '3.0'}", "finetune: {num_train_epochs: 3.0}"]
)
def test_the_same_said_otherwise_is_the_same(site: Site, written: str) -> None:
    site.apply(site.write(PROJECT))
    other = PROJECT.replace("finetune: {num_train_epochs: 3}", written)
    assert site.plan(site.write(other)).empty


def test_changed_parameters_train_again_and_deploy_at_zero(site: Site) -> None:
    site.apply(site.write(PROJECT))
    plan = site.apply(site.write(PROJECT.replace("epochs: 3", "epochs: 4")))
    assert actions(plan) == NOTHING | {"job": "create", "model": "create", "deployment": "create"}
    changes = {item.kind: item for item in plan.items}["job"].changes
    assert [(each.field, each.old, each.new) for each in changes] == [("num_train_epochs", 3, 4)]
    assert any("phoundry endpoint update faq-bot --traffic tuned-2=100" in n for n in plan.notes)
    assert endpoints.show(site.context, "faq-bot").traffic == {"tuned-1": 100}
    assert deployments.show(site.context, "faq-bot", "tuned-2").traffic == 0
    assert site.plan(site.write(PROJECT)).empty  # and back: all of it is there


def test_changed_data_train_again(site: Site, chats: bytes) -> None:
    file = site.write(PROJECT)
    site.apply(file)
    (site.folder / "faq.jsonl").write_bytes(chats[: chats.rindex(b"\n", 0, -1) + 1])
    plan = site.apply(file)
    assert actions(plan)["data"] == "create"
    assert actions(plan)["endpoint"] == "nothing"
    assert [asset.version for asset in data.listing(site.context)] == ["2", "1"]
    assert deployments.show(site.context, "faq-bot", "tuned-2").traffic == 0
    (site.folder / "faq.jsonl").write_bytes(chats)
    assert site.plan(file).empty  # the first content again: its asset and model are still there


def test_changed_defaults_change_the_live_deployment_without_training(site: Site) -> None:
    site.apply(site.write(PROJECT))
    starts = len(site.fleet.starts)
    changed = PROJECT + "deployment: {defaults: {system_prompt: Be brief., max_tokens: 20}}\n"
    plan = site.apply(site.write(changed))
    assert actions(plan) == NOTHING | {"deployment": "change"}
    defaults = deployments.show(site.context, "faq-bot", "tuned-1").defaults
    assert (defaults.system_prompt, defaults.max_tokens) == ("Be brief.", 20)
    assert len(site.fleet.starts) == starts
    assert site.plan(site.write(changed)).empty
    site.apply(site.write(PROJECT))  # taken back
    assert deployments.show(site.context, "faq-bot", "tuned-1").defaults.system_prompt is None


def test_another_context_is_the_next_deployment_of_the_same_model(site: Site) -> None:
    site.apply(site.write(PROJECT))
    plan = site.apply(site.write(PROJECT + "deployment: {context_length: 512}\n"))
    assert actions(plan) == NOTHING | {"deployment": "create"}
    shown = {each.name: each.traffic for each in deployments.listing(site.context, "faq-bot")}
    assert shown == {"tuned-1": 100, "tuned-1-2": 0}


def test_a_description_changes_in_place(site: Site) -> None:
    site.apply(site.write(PROJECT))
    key = endpoints.keys(site.context, "faq-bot")
    changed = PROJECT + "endpoint: {description: Answers questions, tags: {owner: me}}\n"
    assert actions(site.apply(site.write(changed))) == NOTHING | {"endpoint": "change"}
    found = endpoints.show(site.context, "faq-bot")
    assert (found.description, found.tags) == ("Answers questions", {"owner": "me"})
    assert endpoints.keys(site.context, "faq-bot") == key


def test_without_a_flow_none_is_made(site: Site) -> None:
    plan = site.apply(site.write(PROJECT.replace("flow: chat\n", "")))
    assert "flow" not in actions(plan)
    assert state(site.context)["flows"] == []


def test_a_flow_of_ones_own_must_be_there_and_is_left_alone(site: Site) -> None:
    file = site.write(PROJECT.replace("flow: chat", "flow: mine"))
    with pytest.raises(PhoundryError, match="no flow in"):
        site.plan(file)
    site.client.flows.init(site.folder / "mine")
    before = (site.folder / "mine" / "flow.dag.yaml").read_bytes()
    site.apply(file)
    assert (site.folder / "mine" / "flow.dag.yaml").read_bytes() == before
    assert site.plan(file).empty


def test_what_get_writes_applies_to_nothing_to_do(site: Site) -> None:
    text = PROJECT + "endpoint: {description: D}\ndeployment: {defaults: {stop: ['x']}}\n"
    site.apply(site.write(text))
    (written,) = site.client.apply.get("faq-bot")
    assert site.plan(site.write(dump(written), "got.yaml")).empty
    assert site.client.apply.get("faq-bot") == [written]


@pytest.mark.parametrize("kind", ["data", "endpoint", "connection", "model"])
def test_single_resources_come_back_too(
    site: Site, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.apply(site.write(PROJECT))
    documents = site.client.apply.get("faq-bot", kind)
    text = "---\n".join(dump(document) for document in documents)
    secrets = connections.values(site.context, "faq-bot").secrets
    assert not any(value in text for value in secrets.values())
    for name, value in secrets.items():
        monkeypatch.setenv(f"FAQ_BOT_{name.upper()}", value)
    assert site.plan(site.write(text, "got.yaml")).empty


def test_the_same_file_twice_at_once_follows_one_journey(site: Site) -> None:
    file = site.write(PROJECT)
    documents = site.client.apply.read(file)
    first, second = site.client.apply.plan(documents), site.client.apply.plan(documents)
    site.client.apply.run(documents, first, wait=False)
    site.turn()
    site.client.apply.run(documents, second, follow=site.follow)
    assert len(jobs.listing(site.context)) == len(data.listing(site.context)) == 1
    assert site.plan(file).empty


def test_another_file_for_the_same_name_is_refused_while_it_is_under_way(site: Site) -> None:
    documents = site.client.apply.read(site.write(PROJECT))
    site.client.apply.run(documents, wait=False)
    site.turn()
    changed = site.write(PROJECT.replace("epochs: 3", "epochs: 4"))
    with pytest.raises(Conflict, match="under way"):
        site.apply(changed)
    assert len(data.listing(site.context)) == 1
    site.follow(documents[0])
    site.apply(changed)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("first", range(2))
def test_killed_again_and_again_it_ends_in_the_same_state(
    before: bool,
    first: int,
    tmp_path: Path,
    chats: bytes,
    context: Context,
    fleet: FakeWorkers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed again and again, every two to four writes, until a run comes to its end."""
    (tmp_path / "faq.jsonl").write_bytes(chats)
    in_process(monkeypatch, context)
    site = Site(context, fleet, tmp_path)
    file = site.write(PROJECT)
    kills = 0
    killer = Killer(1 + first, before=before)
    killer.install(monkeypatch)
    while True:
        try:
            site.apply(file)
        except Killed:
            kills += 1
            killer.writes, killer.at = 0, 2 + (kills + first) % 3
        else:
            break
        assert kills < 100, "it does not come nearer to its end"
    killer.at = -1
    assert kills >= 5
    assert site.plan(file).empty
    assert state(context) == expected(context)


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_killed_once_at_every_write_and_repeated_it_ends_in_the_same_state(
    before: bool, tmp_path: Path, chats: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home for each write of the whole way: killed there, then applied again."""
    number = 0
    while True:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "faq.jsonl").write_bytes(chats)
        with monkeypatch.context() as patched:
            context, fleet = open_context(Home(folder / "home")), FakeWorkers()
            fleet.install(patched)
            in_process(patched, context)
            site, killer = Site(context, fleet, folder), Killer(number, before=before)
            killer.install(patched)
            file = site.write(PROJECT)
            killed = False
            try:
                site.apply(file)
            except Killed:
                killed = True
                site.apply(file)
            killer.at = -1
            assert site.plan(file).empty
            assert state(context) == expected(context)
            context.database.close()
        if not killed:
            break
    assert number > 20


def expected(context: Context) -> dict[str, Any]:
    """What one apply without any trouble leads to."""
    (asset,) = data.listing(context)
    (job,) = jobs.listing(context)
    defaults = deployments.show(context, "faq-bot", "tuned-1").defaults.model_dump()
    return {
        "data": [("faq-bot", "1", asset.sha256)],
        "jobs": [(job.name, "Completed", "faq-bot:1")],
        "models": [("faq-bot", "1", "Ready", job.name)],
        "endpoints": {
            "faq-bot": (
                {"tuned-1": 100},
                "",
                {"tuned-1": ("faq-bot:1", "Succeeded", defaults)},
            )
        },
        "connections": [True],
        "flows": state(context)["flows"],
    }


def rows(number: int) -> str:
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": str(number)}]
    return json.dumps({"messages": turns}) + "\n"


AZURE = f"""
name: blue
endpoint_name: fruit
model: azureml:apples:1
---
name: fruit
auth_mode: key
traffic: {{blue: 100}}
---
name: apples
type: mlflow_model
path: azureml://jobs/train-apples/outputs/artifacts/model
---
type: finetuning
name: train-apples
model: {MODEL}
training_data: azureml:apples:1
hyperparameters: {{apply_lora: "true", num_train_epochs: "2"}}
---
name: apples
type: uri_file
path: faq.jsonl
---
name: elsewhere
type: custom
configs: {{endpoint: http://127.0.0.1:1}}
secrets: {{key: "${{APPLES_KEY}}"}}
"""


def test_azures_documents_are_made_in_the_order_of_their_references(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLES_KEY", "secret-1")
    file = site.write(AZURE)
    plan = site.apply(file)
    order = [item.kind for item in plan.items]
    assert order.index("data") < order.index("job") < order.index("model")
    assert order.index("model") < order.index("deployment") > order.index("endpoint")
    assert endpoints.show(site.context, "fruit").traffic == {"blue": 100}
    assert connections.values(site.context, "elsewhere").secrets == {"key": "secret-1"}
    assert site.plan(file).empty
    monkeypatch.setenv("APPLES_KEY", "secret-2")
    again = site.plan(file)
    (changed,) = [item for item in again.items if item.action != "nothing"]
    assert [change.model_dump() for change in changed.changes] == [
        {"field": "secrets.key", "old": None, "new": None}
    ]


def test_without_waiting_what_can_begin_begins(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLES_KEY", "secret")
    documents = site.client.apply.read(site.write(AZURE))
    left = site.client.apply.run(documents, wait=False)
    assert left == ["job/train-apples", "model/apples", "deployment/fruit/blue"]
    site.apply(site.folder / "phoundry.yaml")
    assert site.plan(site.folder / "phoundry.yaml").empty


def test_what_cannot_change_is_refused_with_the_way(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLES_KEY", "secret")
    site.apply(site.write(AZURE))
    with pytest.raises(InvalidInput, match="another endpoint"):
        site.plan(site.write(AZURE.replace("auth_mode: key", "auth_mode: aml_token")))


def test_another_model_is_rolled_out_in_the_same_deployment(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLES_KEY", "secret")
    site.apply(site.write(AZURE))
    other = site.write(AZURE.replace("model: azureml:apples:1", f"model: {MODEL}"))
    (item,) = [one for one in site.plan(other).items if one.kind == "deployment"]
    assert item.action == "change"
    assert [(change.field, change.old) for change in item.changes] == [("model", "apples:1")]
    assert "drains" in item.reason
    site.apply(other)
    found = site.client.deployments.show("fruit", "blue")
    assert (found.revision, found.provisioning_state) == (2, "Succeeded")
    assert found.model != "apples:1"
    assert site.plan(other).empty


def test_a_project_may_take_data_that_another_document_makes(site: Site) -> None:
    text = PROJECT.replace("{source: faq.jsonl}", "shared:1")
    file = site.write(text + "---\nname: shared\ntype: uri_file\npath: faq.jsonl\n")
    site.apply(file)
    assert jobs.listing(site.context)[0].training_data == "shared:1"
    assert site.plan(file).empty


def test_a_failed_training_is_told_and_taken_up_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = site.write(PROJECT)
    documents = site.client.apply.read(file)
    site.client.apply.run(documents, wait=False)
    work: Callable[[], None] = site.fleet.work

    def fail() -> None:
        for folder, started in list(site.fleet.running.items()):
            if started.module == "phoundry.training":
                site.fleet.end(folder, "failed")
        work()

    monkeypatch.setattr(site.fleet, "work", fail)
    with pytest.raises(PhoundryError, match="It failed"):
        site.follow(documents[0])
    monkeypatch.setattr(site.fleet, "work", work)
    plan = site.apply(file)
    assert actions(plan)["job"] == "resume"
    assert site.plan(file).empty
