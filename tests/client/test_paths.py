from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.client import Client
from phoundry.client.paths import located
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.job import FineTuningJobSpec
from tests.client.fake_api import FakeApi


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a folder `sub/tiny`, and a folder with a model's name."""
    (tmp_path / "sub" / "tiny").mkdir(parents=True)
    (tmp_path / "faq").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("written", ["./sub/tiny", "sub/tiny", "sub/../sub/tiny"])
def test_a_path_is_seen_from_where_the_user_is(here: Path, written: str) -> None:
    assert Path(located(written)).is_absolute()
    assert Path(located(written)).samefile(here / "sub" / "tiny")


def test_a_path_that_is_not_there_is_still_a_path(here: Path) -> None:
    assert located("./nowhere") == str(here / "nowhere")
    assert located("some.gguf") == str(here / "some.gguf")


@pytest.mark.parametrize("name", ["faq", "faq:1", "models:/faq/1", "azureml:faq:1", "org/model"])
def test_names_stay_names(here: Path, name: str) -> None:
    assert located(name) == name


def test_jobs_and_deployments_send_whole_paths(client: Client, api: FakeApi, here: Path) -> None:
    job = client.jobs.create(FineTuningJobSpec(name="j", model="sub/tiny", training_data="faq"))
    assert job.model == str(here / "sub" / "tiny")
    spec = DeploymentSpec(name="blue", endpoint_name="faq", model="./sub/tiny")
    api.resources["endpoints"] = {"faq": api.new_endpoints("faq", {})}
    assert client.deployments.create(spec).model == str(here / "sub" / "tiny")
