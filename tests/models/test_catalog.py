from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from phoundry.errors import InvalidInput, NotFound
from phoundry.models.catalog import (
    CATALOG,
    check_usable,
    count_parameters,
    find,
    obstacle,
    recommended,
    resolve,
    search,
)
from phoundry.specs import finetune

# As the hub counts the weights in the files, text parts alone.
PUBLISHED = {
    "smollm2-135m-instruct": 134_515_008,
    "smollm2-360m-instruct": 361_821_120,
    "smollm2-1.7b-instruct": 1_711_376_384,
    "phi-3-mini-4k-instruct": 3_821_079_552,
    "phi-4-mini-instruct": 3_836_021_760,
    "qwen3-4b": 4_022_468_096,
    "gemma-3-270m-it": 268_098_176,
    "gemma-3-1b-it": 999_885_952,
    "llama-3.2-1b-instruct": 1_235_814_400,
    "llama-3.2-3b-instruct": 3_212_749_824,
    "mistral-7b-instruct-v0.3": 7_248_023_552,
}


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_the_size_of_a_model_is_the_published_one(name: str, parameters: int) -> None:
    entry = find(name)
    assert entry is not None
    assert count_parameters(entry.config) == parameters
    if not entry.package:
        assert entry.download_bytes == 2 * parameters


@pytest.mark.parametrize("name", ["qwen3-0.6b", "qwen3-1.7b"])
def test_a_tied_table_that_the_hub_keeps_twice_is_downloaded_twice(name: str) -> None:
    entry = find(name)
    assert entry
    table = entry.config["vocab_size"] * entry.config["hidden_size"]
    assert entry.stored is not None
    assert entry.stored == count_parameters(entry.config) + table
    assert entry.download_bytes == 2 * entry.stored


@pytest.mark.parametrize(
    "name",
    ["smollm2-135m-instruct", "SmolLM2", "HuggingFaceTB/SmolLM2-135M-Instruct", "SMOLLM2-135M"],
)
def test_names_hub_ids_and_aliases_in_any_case(name: str) -> None:
    source = resolve(name)
    assert (source.kind, source.name) == ("package", "smollm2-135m-instruct")


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("phi-3", "phi-3-mini-4k-instruct"),
        ("microsoft/phi-3-mini-4k-instruct", "phi-3-mini-4k-instruct"),
        ("phi3:mini", "phi-3-mini-4k-instruct"),
        ("llama3.2:1b", "llama-3.2-1b-instruct"),
        ("llama3.2", "llama-3.2-3b-instruct"),
        ("gemma3:270m", "gemma-3-270m-it"),
        ("qwen3:4b", "qwen3-4b"),
        ("mistral", "mistral-7b-instruct-v0.3"),
        ("https://huggingface.co/Qwen/Qwen3-0.6B", "qwen3-0.6b"),
        ("https://huggingface.co/Qwen/Qwen3-0.6B/tree/main", "qwen3-0.6b"),
        ("hf.co/Qwen/Qwen3-0.6B", "qwen3-0.6b"),
        (
            "azureml://registries/azureml/models/Phi-3-mini-4k-instruct/versions/13",
            "phi-3-mini-4k-instruct",
        ),
        ("azureml://registries/azureml/models/Phi-4-mini-instruct", "phi-4-mini-instruct"),
        (
            "azureml://registries/azureml-meta/models/Llama-3.2-3B-Instruct/labels/latest",
            "llama-3.2-3b-instruct",
        ),
    ],
)
def test_what_people_type(typed: str, name: str) -> None:
    assert resolve(typed).name == name


def test_an_unknown_model_of_azure_says_that_its_registry_is_out_of_reach() -> None:
    with pytest.raises(NotFound, match="registries cannot be reached") as caught:
        resolve("azureml://registries/azureml/models/Phi-3-mini-8k-instruct/versions/1")
    assert "phi-3-mini-4k-instruct" in (caught.value.remedy or "")


def test_a_page_of_the_hub_is_its_id() -> None:
    source = resolve("https://huggingface.co/someone/some-model?library=transformers")
    assert (source.kind, source.location) == ("hub", "someone/some-model")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("qwen3", {"qwen3-0.6b", "qwen3-1.7b", "qwen3-4b"}),
        ("QWEN 4b", {"qwen3-4b"}),
        ("gemma3:1b", {"gemma-3-1b-it"}),
        ("community", {"llama-3.2-1b-instruct", "llama-3.2-3b-instruct"}),
        ("phi mit 128k", {"phi-3-mini-128k-instruct"}),
        ("https://huggingface.co/Qwen/Qwen3-0.6B", {"qwen3-0.6b"}),
        ("no-such", set()),
    ],
)
def test_searching(words: str, names: set[str]) -> None:
    assert {entry.name for entry in search(words)} == names


def test_everything_of_the_issue_is_there() -> None:
    for hub_id in (
        *(f"HuggingFaceTB/SmolLM2-{size}-Instruct" for size in ("135M", "360M", "1.7B")),
        *(f"microsoft/Phi-3-mini-{context}-instruct" for context in ("4k", "128k")),
        *(f"microsoft/{name}-mini-instruct" for name in ("Phi-3.5", "Phi-4")),
        *(f"Qwen/Qwen3-{size}" for size in ("0.6B", "1.7B", "4B")),
        *(f"google/gemma-3-{size}-it" for size in ("270m", "1b", "4b")),
        *(f"meta-llama/Llama-3.2-{size}-Instruct" for size in ("1B", "3B")),
        "mistralai/Mistral-7B-Instruct-v0.3",
    ):
        assert find(hub_id), hub_id


def test_a_licence_has_its_text_and_a_gate_is_told() -> None:
    for entry in CATALOG:
        assert entry.licence_url.startswith("https://")
    assert {entry.family for entry in CATALOG if entry.gated} == {"Gemma 3", "Llama 3.2", "Mistral"}


def test_what_mixes_text_and_images_is_refused_with_another_choice() -> None:
    config = {"model_type": "gemma3", "text_config": {"model_type": "llama", "hidden_size": 8}}
    reason = obstacle(config)
    assert reason
    assert "mixes text with images" in reason
    assert "llama" in (obstacle({"model_type": "gpt2"}) or "")
    assert obstacle({"model_type": "phi3"}) is None
    check_usable(resolve("phi-3"))
    with pytest.raises(InvalidInput, match=r"gemma-3-4b-it cannot be used here\. .* images"):
        check_usable(resolve("gemma3:4b"))


def test_a_hub_model_of_the_catalog() -> None:
    source = resolve("phi-3")
    assert (source.kind, source.location) == ("hub", "microsoft/Phi-3-mini-4k-instruct")


def test_any_hub_id() -> None:
    assert resolve("someone/some-model").kind == "hub"


def test_an_unknown_name_shows_the_nearest() -> None:
    with pytest.raises(NotFound, match="smollm2-135m-instruct"):
        resolve("smollm-135m-instruct")


@pytest.mark.parametrize("name", ["a/../b", "../x/y", "org/name/more", "./none", "none.gguf"])
def test_what_is_neither_is_not_found(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound):
        resolve(name)


def test_a_folder_and_a_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(InvalidInput, match=r"no config\.json"):
        resolve("mine")
    (tmp_path / "mine" / "config.json").write_text("{}")
    assert resolve("mine").location == str(tmp_path / "mine")
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert resolve("./model.gguf").kind == "gguf"
    # As stores that go by content hash keep one, and a link to it.
    blob = tmp_path / "sha256-abc"
    blob.write_bytes(b"GGUF")
    (tmp_path / "link.gguf").symlink_to(blob)
    for name in ("./sha256-abc", "./link.gguf"):
        assert resolve(name).kind == "gguf"
        assert resolve(name).location == str(blob.resolve())
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InvalidInput, match=r"not a \.gguf"):
        resolve("notes.txt")


def test_names_are_unique() -> None:
    names = [name.lower() for entry in CATALOG for name in entry.names]
    assert len(names) == len(set(names))


def test_every_recommendation_is_a_valid_set_of_parameters() -> None:
    for entry in CATALOG:
        parameters, sources = finetune.resolve({}, model=entry.recommended)
        assert parameters.apply_lora
        assert sources["learning_rate"] == "model"


def test_a_recommendation_follows_family_and_size() -> None:
    assert recommended({"model_type": "phi3", "hidden_size": 64}) == recommended("phi-3")
    small = recommended("smollm2-135m-instruct")
    assert recommended({"model_type": "llama", "hidden_size": 600}) == small
    assert recommended({"model_type": "llama", "hidden_size": 4096}) != small
    assert recommended({"model_type": "gpt2", "hidden_size": 600}) == {}
    gemma = {"model_type": "gemma3", "text_config": {"hidden_size": 1000}}
    assert recommended(gemma) == recommended("gemma-3-1b-it") != {}
    assert recommended("unknown") == {}


def test_the_catalog_is_light() -> None:
    heavy = ["torch", "transformers", "numpy", "gguf", "mlflow", "huggingface_hub"]
    code = f"import sys, phoundry.models.catalog; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
