"""Files of every type of connection, and the classes that tools read them by."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from phoundry.errors import InvalidInput
from phoundry.flows.provided.connections import build, class_for
from phoundry.specs.connection import ConnectionSpec
from phoundry.specs.connection_file import read_connection
from phoundry.specs.connection_types import KINDS, kind_named

KEY = "canary-55"
FILES = {
    "custom": "configs: {a: 1}\nsecrets: {key: KEY}\n",
    "open_ai": "api_key: KEY\norganization: org\n",
    "azure_open_ai": "api_key: KEY\napi_base: http://a\napi_type: azure\napi_version: 2024-02-01\n",
    "serverless": "api_key: KEY\napi_base: http://s\n",
    "serp": "api_key: KEY\n",
    "cognitive_search": "api_key: KEY\napi_base: http://c\napi_version: 2023-11-01\n",
    "azure_ai_services": "api_key: KEY\nendpoint: http://e\n",
    "azure_content_safety": "api_key: KEY\nendpoint: http://e\napi_version: 2023-10-01\n",
    "form_recognizer": "api_key: KEY\nendpoint: http://e\n",
    "qdrant": "api_key: KEY\napi_base: http://q\n",
    "weaviate": "api_key: KEY\napi_base: http://w\n",
}
HEAD = "$schema: https://azuremlschemas.azureedge.net/promptflow/latest/X.schema.json\nname: c\n"


def spec_of(tmp_path: Path, text: str) -> ConnectionSpec:
    file = tmp_path / "c.yaml"
    file.write_text(text.replace("KEY", KEY))
    return ConnectionSpec.model_validate(read_connection(file))


def test_every_type_has_a_file_and_a_class() -> None:
    assert FILES.keys() == KINDS.keys()
    assert {class_for(kind).__name__ for kind in KINDS} == {
        item.class_name for item in KINDS.values()
    }


@pytest.mark.parametrize("kind", sorted(FILES))
def test_a_file_of_prompt_flow(tmp_path: Path, kind: str) -> None:
    spec = spec_of(tmp_path, f"{HEAD}type: {kind}\n{FILES[kind]}")
    assert spec.type == kind
    secrets = {name: value.get_secret_value() for name, value in spec.secrets.items()}
    assert list(secrets.values()) == [KEY]
    assert KEY not in spec.model_dump_json() + repr(spec)
    values = {"name": "c", "type": kind, "configs": spec.configs, "secrets": secrets}
    connection = build(values)
    assert connection.type == kind
    assert KEY not in repr(connection)
    for name in KINDS[kind].configs:
        assert getattr(connection, name) == connection.configs.get(name)
    for name in KINDS[kind].secrets:
        assert getattr(connection, name) == KEY


@pytest.mark.parametrize("kind", sorted(set(FILES) - {"custom"}))
def test_what_is_missing_is_named(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ValidationError) as caught:
        spec_of(tmp_path, f"{HEAD}type: {kind}\n")
    for name in KINDS[kind].required:
        assert name in str(caught.value)


@pytest.mark.parametrize("word", ["AzureOpenAI", "azure-open-ai", "azure_open_ai"])
def test_other_spellings(word: str) -> None:
    assert kind_named(word) == "azure_open_ai"


@pytest.mark.parametrize("kind", ["azure_open_ai", "cognitive_search", "azure_ai_services"])
def test_signing_in_to_azure_is_refused_with_the_way_out(tmp_path: Path, kind: str) -> None:
    text = f"{HEAD}type: {kind}\napi_base: http://a\nendpoint: http://a\nauth_mode: meid_token\n"
    with pytest.raises(ValidationError, match="auth_mode: key"):
        spec_of(tmp_path, text)


def test_azures_without_a_key_are_told_that_nobody_signs_in(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"needs api_key\. Signing in to Azure"):
        spec_of(tmp_path, f"{HEAD}type: azure_open_ai\napi_base: http://a\n")
    with pytest.raises(ValidationError) as caught:
        spec_of(tmp_path, f"{HEAD}type: open_ai\n")
    assert "Signing in" not in str(caught.value)


def test_a_class_of_the_user_s_own(tmp_path: Path) -> None:
    text = f"{HEAD}type: custom\ncustom_type: Mine\nmodule: pkg.mod\n{FILES['custom']}"
    configs = spec_of(tmp_path, text).configs
    assert configs == {
        "a": "1",
        "promptflow.connection.custom_type": "Mine",
        "promptflow.connection.module": "pkg.mod",
    }


@pytest.mark.parametrize(
    "written", ["007", "1_000", "0o17", "0x1F", "1.50", "1e3", "2020-01-02", "12", "yes"]
)
def test_a_key_that_looks_like_a_number_stays_as_written(tmp_path: Path, written: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"name: c\nconfigs: {{a: {written}}}\nsecrets: {{k: {written}}}\n")
    found = read_connection(path)
    assert (found["configs"], found["secrets"]) == ({"a": written}, {"k": written})


def test_what_pf_shows_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "name: c\ntype: open_ai\nmodule: promptflow.connections\napi_key: k\n"
        "created_date: '2026-01-02T03:04:05'\nlast_modified_date: '2026-01-02T03:04:05'\n"
    )
    found = ConnectionSpec.model_validate(read_connection(path))
    assert (found.configs, list(found.secrets)) == ({}, ["api_key"])


def test_an_unknown_key_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"c\.yaml:4: unknown key 'api_kee'; did you mean"):
        spec_of(tmp_path, f"{HEAD}type: serp\napi_kee: x\n")
