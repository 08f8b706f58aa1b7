from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phoundry.errors import InvalidInput, NotFound, PhoundryError
from phoundry.specs import yaml
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec
from phoundry.specs.names import split_version


def write(folder: Path, text: str) -> Path:
    path = folder / "endpoint.yaml"
    path.write_text(text)
    return path


def test_azures_file_is_taken_as_it_stands(tmp_path: Path) -> None:
    text = (
        "$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json\n"
        "name: blue\nendpoint_name: faq-bot\nmodel: azureml:faq:1\n"
        "instance_type: Standard_NC6s_v3\ninstance_count: 1\n"
    )
    spec = yaml.load(write(tmp_path, text), DeploymentSpec)
    assert (spec.name, spec.instance_type) == ("blue", "Standard_NC6s_v3")


def test_every_fault_has_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "name: a\ntraffik: {}\ntraffic:\n  blue: 90\n")
    with pytest.raises(InvalidInput) as caught:
        yaml.load(path, EndpointSpec)
    found = {fault.where.removeprefix(str(path)): fault.reason for fault in caught.value.faults}
    assert set(found) == {":1", ":2", ":3"}
    assert "did you mean traffic?" in found[":2"]
    assert "90 %" in found[":3"]


@pytest.mark.parametrize(
    ("text", "line"), [("name: [\n", 2), ("name: a\nname: b\n", 2), ("a: b: c\n", 1)]
)
def test_what_is_not_yaml_says_where(tmp_path: Path, text: str, line: int) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InvalidInput, match=rf"endpoint.yaml:{line}"):
        yaml.load(path, EndpointSpec)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        yaml.load(tmp_path / "none.yaml", EndpointSpec)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_spec_or_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(content)
    try:
        yaml.load(path, EndpointSpec)
    except PhoundryError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("faq", ("faq", None)),
        ("faq:3", ("faq", "3")),
        ("faq@latest", ("faq", None)),
        ("azureml:faq:3", ("faq", "3")),
        ("models:/faq/3", ("faq", "3")),
    ],
)
def test_references(reference: str, expected: tuple[str, str | None]) -> None:
    assert split_version(reference) == expected


@given(st.text())
def test_any_text_survives_being_written_and_read(text: str) -> None:
    assert yaml.load_documents(yaml.dump({"text": text}), "a")[0]["text"] == text
