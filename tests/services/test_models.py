"""Registering models that were trained elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import InvalidInput, NotFound
from phoundry.services import models
from phoundry.services.context import Context
from phoundry.services.reconcile import models as reconcile_models
from phoundry.services.reconcile import tasks as reconcile_tasks
from phoundry.specs.model import Model, ModelSpec
from tests.services.fake_workers import MODEL, FakeWorkers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What passes the first look: the worker looks at the weights."""
    return checkpoint(tmp_path / "trained")


def checkpoint(folder: Path, note: str = "") -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "note": note}))
    return folder


def adapter(folder: Path, base: str | None) -> Path:
    folder.mkdir()
    settings = {"peft_type": "LORA", "base_model_name_or_path": base}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    (folder / "adapter_model.safetensors").touch()
    return folder


def register(context: Context, path: Path, name: str = "mine", **more: Any) -> Model:
    return models.register(context, ModelSpec(name=name, path=str(path), **more))


def advance(context: Context, fleet: FakeWorkers) -> None:
    for _ in range(4):
        reconcile_tasks.tick(context)
        reconcile_models.tick(context)
        fleet.work()
    reconcile_models.tick(context)


def test_a_folder_becomes_a_version(context: Context, fleet: FakeWorkers, folder: Path) -> None:
    made = register(context, folder)
    assert (made.status, made.path, made.job) == ("Registering", str(folder), None)
    advance(context, fleet)
    ready = models.show(context, "mine:1")
    assert (ready.status, ready.path, ready.tags) == ("Ready", str(folder), {})
    (started,) = fleet.starts
    assert started.spec["path"] == str(folder)
    assert not {"job", "base_checkpoint_dir", "model_dir"} & set(started.spec)


def test_the_same_content_is_the_same_version(
    context: Context, fleet: FakeWorkers, folder: Path, tmp_path: Path
) -> None:
    register(context, folder)
    assert register(context, folder).version == "1"  # on its way: one worker does it
    advance(context, fleet)
    for place in (folder, checkpoint(tmp_path / "copy")):
        asked = register(context, place)
        assert (asked.version, asked.status) == ("2", "Registering")
        advance(context, fleet)
        # Whoever waits for version 2 is told that it is version 1.
        assert models.show(context, "mine:2").version == "1"
    assert [model.version for model in models.listing(context)] == ["1"]


def test_other_content_at_the_same_place_is_the_next_version(
    context: Context, fleet: FakeWorkers, folder: Path
) -> None:
    register(context, folder)
    advance(context, fleet)
    register(context, folder)
    advance(context, fleet)
    (folder / "config.json").write_text('{"model_type": "llama", "note": "trained further"}')
    register(context, folder)
    advance(context, fleet)
    assert [model.version for model in models.listing(context)] == ["2", "1"]
    # The number that was asked for in vain before is now a version of its own.
    assert models.show(context, "mine:2").version == "2"


def test_an_adapter_waits_for_its_base(
    context: Context, fleet: FakeWorkers, tmp_path: Path
) -> None:
    made = register(context, adapter(tmp_path / "lora", MODEL))
    assert made.base_model == MODEL
    reconcile_models.tick(context)
    assert fleet.modules() == ["models.materialize"]
    (tmp_path / "lora" / "config.json").touch()  # what the fake worker takes for the content
    advance(context, fleet)
    assert models.show(context, "mine").status == "Ready"
    assert "base_checkpoint_dir" in fleet.starts[-1].spec


def test_an_adapter_trained_here_names_the_folder_of_its_base(
    context: Context, fleet: FakeWorkers, tmp_path: Path
) -> None:
    """A folder that may be removed: what counts is the name it was made under."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "source.json").write_text(json.dumps({"model": MODEL}))
    assert register(context, adapter(tmp_path / "lora", str(base))).base_model == MODEL


def test_a_base_that_is_named_wins(context: Context, fleet: FakeWorkers, tmp_path: Path) -> None:
    lora = adapter(tmp_path / "lora", "/of/another/machine")
    assert register(context, lora, base=MODEL).base_model == MODEL


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (None, "--base"),
        ("/of/another/machine", r"/of/another/machine.* --base"),
        ("smollm2-135m-instrct", "Did you mean smollm2-135m-instruct"),
    ],
)
def test_an_adapter_without_a_base_that_is_there(
    base: str | None, message: str, context: Context, fleet: FakeWorkers, tmp_path: Path
) -> None:
    with pytest.raises((NotFound, InvalidInput), match=message):
        register(context, adapter(tmp_path / "lora", base))
    assert models.listing(context) == []


def test_a_whole_model_has_no_base(context: Context, fleet: FakeWorkers, folder: Path) -> None:
    with pytest.raises(InvalidInput, match="only an adapter has a base"):
        register(context, folder, base=MODEL)


def test_what_is_no_model_is_refused_at_once(
    context: Context, fleet: FakeWorkers, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="holds no model"):
        register(context, tmp_path)
    assert models.listing(context) == []


def test_a_failed_one_is_tried_again(context: Context, fleet: FakeWorkers, folder: Path) -> None:
    register(context, folder)
    reconcile_models.tick(context)
    fleet.end(fleet.one("models.register"), "failed")
    reconcile_models.tick(context)
    assert models.show(context, "mine").status == "Failed"
    assert register(context, folder).version == "1"
    advance(context, fleet)
    assert [model.status for model in models.listing(context)] == ["Ready"]


def test_a_killed_worker_says_how_to_go_on(
    context: Context, fleet: FakeWorkers, folder: Path
) -> None:
    register(context, folder)
    reconcile_models.tick(context)
    fleet.kill(fleet.one("models.register"))
    reconcile_models.tick(context)
    error = models.show(context, "mine").error
    assert error is not None
    assert f"--path {folder}" in error["remedy"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "found neither"),
        ({"job": "a", "path": "/b"}, "found both"),
        ({"path": "b"}, "must be absolute"),
        ({"job": "a", "base": MODEL}, "base belongs to a path"),
    ],
)
def test_a_spec_names_one_origin(values: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelSpec(name="mine", **values)


def test_a_base_of_another_revision_is_not_taken_for_the_newest(
    context: Context, fleet: FakeWorkers, tmp_path: Path
) -> None:
    def trained_on(revision: str | None, name: str, base: str = MODEL) -> Path:
        made = adapter(tmp_path / name, base)
        settings = json.loads((made / "adapter_config.json").read_text())
        (made / "adapter_config.json").write_text(json.dumps(settings | {"revision": revision}))
        return made

    with pytest.raises(
        InvalidInput, match=rf"(?s)revision 'v2' of '{MODEL}'.*--revision v2.*--base"
    ):
        register(context, trained_on("v2", "other"))
    assert not models.listing(context)
    for revision in ("main", None, ""):
        name = f"at-{revision or 'none' if revision is not None else 'null'}"
        assert register(context, trained_on(revision, name), name).base_model == MODEL
    mine = register(context, tmp_path / "other", "mine", base=MODEL)  # the user has chosen
    assert mine.base_model == MODEL
    folder = str(checkpoint(tmp_path / "base"))
    assert register(context, trained_on("v2", "local", folder), "local").base_model == folder
