from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from phoundry.errors import InvalidInput, NotFound
from phoundry.models.catalog import CATALOG, count_parameters, find, recommended, resolve
from phoundry.specs import finetune
from tests.models.conftest import Maker

# As the model pages state them.
PUBLISHED = {
    "smollm2-135m-instruct": 134_515_008,
    "smollm2-360m-instruct": 361_821_120,
    "smollm2-1.7b-instruct": 1_711_376_384,
    "phi-3-mini-4k-instruct": 3_821_079_552,
    "phi-4-mini-instruct": 3_836_021_760,
    "qwen3-0.6b": 596_049_920,
}


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_the_size_of_a_model_is_the_published_one(name: str, parameters: int) -> None:
    entry = find(name)
    assert entry is not None
    assert entry.view().parameters == parameters


@pytest.mark.parametrize("kind", ["llama", "phi3", "qwen2", "qwen3"])
def test_counting_agrees_with_the_built_model(kind: str, tiny: Maker) -> None:
    import json

    from phoundry.models.tensors import Weights

    folder = tiny(kind)
    config = json.loads((folder / "config.json").read_text())
    weights = Weights(folder)
    stored = sum(weights.floats(name).size for name in weights.names)
    assert count_parameters(config) == stored


@pytest.mark.parametrize(
    "name",
    ["smollm2-135m-instruct", "SmolLM2", "HuggingFaceTB/SmolLM2-135M-Instruct", "SMOLLM2-135M"],
)
def test_names_hub_ids_and_aliases_in_any_case(name: str) -> None:
    source = resolve(name)
    assert (source.kind, source.name) == ("package", "smollm2-135m-instruct")


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
    assert recommended("unknown") == {}


def test_the_catalog_is_light() -> None:
    heavy = ["torch", "transformers", "numpy", "gguf", "mlflow", "huggingface_hub"]
    code = f"import sys, phoundry.models.catalog; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
