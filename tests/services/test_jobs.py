from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.errors import Conflict, InsufficientResources, InvalidInput, NotFound
from phoundry.services import jobs
from phoundry.services.context import Context
from phoundry.services.logs import read_log
from phoundry.services.reconcile import jobs as reconcile_jobs
from phoundry.specs.job import FineTuningJobSpec, Job
from tests.support.assets import make_asset

MODEL = "smollm2-135m-instruct"


@pytest.fixture
def faq(context: Context, chats: bytes) -> str:
    return make_asset(context, chats).name


def create(context: Context, **changes: object) -> Job:
    values = {"model": MODEL, "training_data": "faq", **changes}
    return jobs.create(context, FineTuningJobSpec.model_validate(values))


def test_the_data_version_is_pinned_and_every_value_has_its_source(
    context: Context, faq: str
) -> None:
    job = create(context, hyperparameters={"learning_rate": "1e-4", "apply_lora": "true"})
    assert job.status == "Queued"
    assert job.training_data == "faq:1"
    assert job.parameters["learning_rate"] == 1e-4
    assert job.sources["learning_rate"] == "user"
    assert set(job.sources.values()) <= {"user", "model", "machine", "default"}
    assert jobs.show(context, job.name).events[0].kind == "queued"


def test_what_is_known_to_fail_is_refused_at_once(
    context: Context, faq: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound, match="Did you mean smollm2-135m-instruct"):
        create(context, model="smolm2-135m-instruct")
    with pytest.raises(NotFound, match="data asset"):
        create(context, training_data="fqa")
    with pytest.raises(NotFound, match="data asset"):
        create(context, validation_data="none")
    with pytest.raises(InvalidInput, match="learning_rate"):
        create(context, hyperparameters={"learningrate": 1})
    monkeypatch.setenv("PHOUNDRY_MEMORY_LIMIT", "300000000")
    with pytest.raises(InsufficientResources, match=r"0\.3 GB"):
        create(context)
    assert jobs.listing(context) == []


def test_a_name_is_taken_once(context: Context, faq: str) -> None:
    create(context, name="one")
    with pytest.raises(Conflict, match="Choose another name"):
        create(context, name="one")


def test_azures_places_are_recorded(context: Context, faq: str) -> None:
    job = create(context, resources={"instance_types": ["Standard_NC24ads_A100_v4"]})
    assert "Standard_NC24ads_A100_v4" in job.notices[0]


def test_outputs_are_said_to_register_nothing(context: Context, faq: str) -> None:
    job = create(context, outputs={"registered_model": {"type": "mlflow_model", "name": "faq"}})
    assert "phoundry model register" in job.notices[0]


def test_adapters_that_are_asked_to_stay_apart(context: Context, faq: str) -> None:
    apart = {"apply_lora": "true", "merge_lora_weights": "false"}
    (said,) = create(context, hyperparameters=apart).notices
    assert "output/adapter" in said
    assert "registered version is merged all the same" in said
    assert create(context, hyperparameters={"apply_lora": "true"}).notices == []
    whole = {"apply_lora": "false", "merge_lora_weights": "false"}
    assert create(context, hyperparameters=whole).notices == []


def test_a_queued_job_is_cancelled_at_once_and_can_be_resumed(context: Context, faq: str) -> None:
    create(context, name="one")
    assert jobs.cancel(context, "one").status == "Canceled"
    with pytest.raises(Conflict, match="ended already"):
        jobs.cancel(context, "one")
    assert jobs.resume(context, "one").status == "Queued"
    with pytest.raises(Conflict, match="only a paused, failed or cancelled one"):
        jobs.resume(context, "one")


def test_a_job_whose_worker_vanished_is_failed_with_the_way_on(context: Context, faq: str) -> None:
    job = create(context, name="one")
    with context.database.begin() as session:
        row = reconcile_jobs.select(reconcile_jobs.JobRow).filter_by(name="one")
        session.scalars(row).one().status = "Running"
    Path(job.run_dir).mkdir(parents=True)
    reconcile_jobs.tick(context)
    ended = jobs.show(context, "one")
    assert ended.status == "Failed"
    assert ended.error is not None
    assert "phoundry job resume one" in ended.error["remedy"]


def test_a_growing_log_is_cut_at_a_lines_end(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes("one ü\ntw".encode())
    first = read_log(path, 0, finished=False)
    assert (first.text, first.finished) == ("one ü\n", False)
    path.write_bytes("one ü\ntwo".encode())
    rest = read_log(path, first.offset, finished=True)
    assert (rest.text, rest.finished) == ("two", True)
    assert read_log(tmp_path / "none", 0, finished=False).text == ""


def test_a_line_longer_than_a_chunk_does_not_stop_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"x" * 25)
    chunk = read_log(path, 0, finished=False, limit=10)
    assert (chunk.text, chunk.offset) == ("x" * 10, 10)


def test_a_folder_whose_config_lacks_a_size(context: Context, faq: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(InvalidInput, match="num_attention_heads"):
        create(context, model=str(tmp_path))


def test_a_model_of_azures_registry_gives_its_name_not_its_version(
    context: Context, faq: str
) -> None:
    model = "azureml://registries/azureml/models/SmolLM2-135M-Instruct/versions/13"
    assert create(context, model=model).name.startswith("smollm2-135m-instruct-")
