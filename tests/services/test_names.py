"""Names become folders: no two resources may meet in one, and every name must have one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from phoundry.errors import NotFound
from phoundry.services import connections, data, deployments, endpoints, jobs, models, replicas
from phoundry.services.context import Context
from phoundry.settings import Home
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec
from phoundry.specs.job import FineTuningJobSpec
from phoundry.specs.names import AssetName, EndpointName
from tests.support.assets import make_asset

MODEL = "smollm2-135m-instruct"
ENDPOINT_NAMES = st.from_regex(r"\A[a-zA-Z][-a-zA-Z0-9]{1,30}[a-zA-Z0-9]\Z")


def test_two_deployments_never_share_a_replica(context: Context) -> None:
    folders: set[str] = set()
    for endpoint, name in (("faq", "bot-blue"), ("faq-bot", "blue")):
        endpoints.create(context, EndpointSpec(name=endpoint))
        spec = DeploymentSpec(name=name, endpoint_name=endpoint, model=MODEL, gate=False)
        deployments.create(context, spec)
        with context.database.begin() as session:
            row = deployments._get(session, context, endpoint, name)  # pyright: ignore[reportPrivateUsage]
            folders.update(replicas.add(session, context, row, 1).run_dir for _ in range(2))
    assert len(folders) == 4


@given(st.lists(st.tuples(ENDPOINT_NAMES, ENDPOINT_NAMES), unique=True, max_size=6))
def test_names_and_folders_are_one_to_one(pairs: list[tuple[str, str]]) -> None:
    home = Home(Path("/home/of/nobody"))
    folders = {home.run("replica", *pair) for pair in pairs}
    assert len(folders) == len(pairs)
    assert all(folder.parent == home.runs for folder in folders)


def test_the_longest_name_has_a_folder(context: Context, chats: bytes) -> None:
    make_asset(context, chats)
    folders: set[str] = set()
    for last in "ab":
        spec = FineTuningJobSpec(name="x" * 254 + last, model=MODEL, training_data="faq")
        folder = Path(jobs.create(context, spec).run_dir)
        folder.mkdir(parents=True)  # what the start of its worker does
        folders.add(folder.name)
    assert len(folders) == 2


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../x",
        "a/b",
        "/etc",
        "a\\b",
        ".hidden",
        "-o",
        "a b",
        "a\n",
        "a\x00",
        "\x1b[31m",
        "é",
        "",
    ],
)
@pytest.mark.parametrize("kind", [AssetName, EndpointName])
def test_names_that_are_paths_or_more_are_no_names(kind: object, name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(name)


@pytest.mark.parametrize(
    "name", ["' OR '1'='1", "x'; DROP TABLE jobs; --", '" OR 1=1 --', "%", "faq:1 OR 1=1", "\x00"]
)
def test_a_name_is_never_sql(context: Context, chats: bytes, name: str) -> None:
    make_asset(context, chats)
    for look in (data.show, jobs.show, endpoints.show, connections.show, models.show):
        with pytest.raises(NotFound):
            look(context, name)
    assert [asset.name for asset in data.listing(context)] == ["faq"]
    assert jobs.listing(context) == []
