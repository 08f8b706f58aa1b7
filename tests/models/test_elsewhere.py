"""Models trained elsewhere: what a path holds, and registering it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from phoundry.errors import Conflict, InvalidInput, ModelError, NotFound
from phoundry.files import read_json, write_json
from phoundry.models import elsewhere
from phoundry.models.adapter import CONFIG, WEIGHTS
from phoundry.models.convert import convert
from phoundry.models.elsewhere import Found, identity, look_at
from phoundry.models.tensors import SINGLE, sha256_weights
from tests.models.conftest import Maker
from tests.support.checkpoints import write_adapter

Said = list[str]


def write(path: Path, base: Path | None, folder: Path, said: Said | None = None) -> Any:
    folder.mkdir()
    return elsewhere.write(look_at(path), base, folder, ([] if said is None else said).append)


def logits(folder: Path) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.tensor([[5, 77, 130, 41, 200]])).logits


def test_what_a_path_holds(tiny: Maker, adapter: Maker, tmp_path: Path) -> None:
    base = tiny("llama")
    gguf = tmp_path / "whatever.bin.gguf"
    convert(base, gguf)
    lora = adapter(base)
    assert look_at(base) == Found("folder", base)
    assert look_at(lora) == Found("adapter", lora, str(base))
    assert look_at(gguf) == Found("gguf", gguf)


def _put(name: str, content: bytes = b"x") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        return folder

    return make


def _file(name: str, content: bytes = b"x") -> Callable[[Path], Path]:
    return lambda folder: _put(name, content)(folder) / name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_file("pytorch_model.bin"), "runs code when it is read"),
        (_file("model.safetensors"), r"Name a \.gguf file, or the folder"),
        (_file("short.gguf", b"GG"), "no GGUF file"),
        (lambda folder: folder, "holds no model"),
        (_put("checkpoint-10/config.json"), r"Name one of these in it: checkpoint-10\."),
        (_put("model.gguf", b"GGUF"), r"Name one of these in it: model\.gguf\."),
        (_put("MLmodel"), "an MLflow model"),
        (_put(CONFIG, b"{"), "not JSON"),
        (_put(CONFIG, b'{"peft_type": "LORA"}'), r"adapter_model\.bin runs code"),
        (_put("config.json", b'{"model_type": "mamba"}'), "'mamba' is not supported"),
        (
            _put(
                "config.json",
                b'{"model_type": "llama", "quantization_config": {"quant_method": "gptq"}}',
            ),
            r"quantised \(gptq\)",
        ),
    ],
)
def test_what_is_no_model_is_told_with_what_would_do(
    make: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput) as caught:
        look_at(make(tmp_path))
    assert caught.match(message)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="on its machine"):
        look_at(tmp_path / "none")


def test_an_adapter_beside_a_whole_model_is_ambiguous(
    tiny: Maker, adapter: Maker, copy: Any
) -> None:
    folder = copy(tiny("llama"))
    for name in (CONFIG, WEIGHTS):
        shutil.copyfile(adapter(tiny("llama")) / name, folder / name)
    with pytest.raises(InvalidInput, match="an adapter and a whole model"):
        look_at(folder)


def test_an_adapter_with_code_is_refused(tiny: Maker, adapter: Maker, copy: Any) -> None:
    lora = copy(adapter(tiny("llama")))
    write_json(lora / "tokenizer_config.json", {"auto_map": {"AutoTokenizer": "x.py"}})
    with pytest.raises(InvalidInput, match="auto_map"):
        look_at(lora)


def test_every_setting_that_is_not_plain_lora_is_named(
    tiny: Maker, adapter: Maker, copy: Any
) -> None:
    lora = copy(adapter(tiny("llama")))
    settings = {
        **read_json(lora / CONFIG),
        "use_dora": True,
        "init_lora_weights": "pissa",
        "modules_to_save": ["lm_head"],
        "a_setting_of_2027": {"on": True},
        "another_of_2027": False,
    }
    write_json(lora / CONFIG, settings)
    with pytest.raises(InvalidInput) as caught:
        look_at(lora)
    found = {fault.reason.partition("=")[0] for fault in caught.value.faults}
    assert found == {"use_dora", "init_lora_weights", "modules_to_save", "a_setting_of_2027"}


def test_identity_is_of_the_content(tiny: Maker, adapter: Maker, copy: Any, tmp_path: Path) -> None:
    base, other = tiny("llama"), tiny("llama", seed=5)
    twin = copy(base)
    first = identity(look_at(base), None)
    assert identity(look_at(twin), None) == first
    (twin / "README.md").write_text("no part of the model")
    assert identity(look_at(twin), None) == first
    template = twin / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert identity(look_at(twin), None) != first
    lora = look_at(adapter(base))
    assert identity(lora, base) != identity(lora, other)


@pytest.mark.parametrize("kind", ["llama", "phi3", "qwen3"])
def test_a_folder_is_taken_as_it_is(kind: str, tiny: Maker, tmp_path: Path) -> None:
    digest, measured = write(tiny(kind), None, tmp_path / "out")
    assert digest == sha256_weights(tiny(kind)) == sha256_weights(tmp_path / "out")
    assert measured == {}


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True, "r": 2}])
def test_an_adapter_is_merged_and_held_against_peft(
    settings: dict[str, Any], tiny: Maker, adapter: Maker, tmp_path: Path
) -> None:
    base = tiny("phi3")
    digest, measured = write(adapter(base, **settings), base, tmp_path / "out")
    assert digest == sha256_weights(tmp_path / "out")
    assert 0 < measured["merge_logit_error"] < 0.05 * measured["merge_logit_change"]


def test_what_peft_computes_differently_is_refused(
    tiny: Maker, adapter: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Had we read the adapter's scale wrongly, our own hooks would be as wrong as our merge."""
    from phoundry.models import adapter as reading

    right: Any = reading._scale  # type: ignore[reportPrivateUsage]
    monkeypatch.setattr(reading, "_scale", lambda *given: 3 * right(*given))
    base = tiny("llama")
    with pytest.raises(ModelError, match="does not compute what was trained"):
        write(adapter(base), base, tmp_path / "out")


def test_the_tokenizer_that_an_adapter_brings_is_kept(
    tiny: Maker, adapter: Maker, copy: Any, tmp_path: Path
) -> None:
    base = tiny("llama")
    lora = copy(adapter(base))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(base / name, lora / name)
    template = (
        (base / "chat_template.jinja").read_text().replace("'<|im_start|>'", "'<|im_start|>~'")
    )
    (lora / "chat_template.jinja").write_text(template)
    write(lora, base, tmp_path / "out")
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == template


def test_a_gguf_file_is_read_back(tiny: Maker, tmp_path: Path) -> None:
    convert(tiny("qwen3"), tmp_path / "model.gguf", "BF16")
    write(tmp_path / "model.gguf", None, tmp_path / "out")
    torch.testing.assert_close(logits(tmp_path / "out"), logits(tiny("qwen3")), rtol=0, atol=1e-5)


def _drop_layer(folder: Path) -> None:
    weights = load_file(folder / SINGLE)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / SINGLE, {"format": "pt"})


def _no_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def _small_vocabulary(folder: Path) -> None:
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", {**config, "vocab_size": 300})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop_layer, "lacks the tensors"),
        (_no_template, "no chat template"),
        (_small_vocabulary, "rows for 300"),
        (lambda folder: (folder / SINGLE).write_bytes(b"cut"), "not a safetensors file"),
    ],
)
def test_a_folder_is_checked_whole(
    spoil: Callable[[Path], Any], message: str, tiny: Maker, copy: Any, tmp_path: Path
) -> None:
    folder = copy(tiny("llama"))
    spoil(folder)
    with pytest.raises(InvalidInput, match=message):
        write(folder, None, tmp_path / "out")


def _cut_adapter(lora: Path) -> None:
    weights = load_file(lora / WEIGHTS)
    kept = {name: tensor for name, tensor in weights.items() if "layers.1.mlp.up_proj" not in name}
    assert len(kept) == len(weights) - 2
    save_file(kept, lora / WEIGHTS)


def _other_rank(lora: Path) -> None:
    write_json(lora / CONFIG, {**read_json(lora / CONFIG), "r": 8})


def _embedding(lora: Path) -> None:
    weights = load_file(lora / WEIGHTS)
    weights["base_model.model.lm_head.weight"] = torch.zeros(2, 2)
    save_file(weights, lora / WEIGHTS)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_cut_adapter, r"lacks its part for 1 layers .*layers\.1\.mlp\.up_proj"),
        (_other_rank, "says a rank of 8"),
        (_embedding, "no trained embeddings"),
    ],
)
def test_a_damaged_adapter_is_refused(
    spoil: Callable[[Path], None],
    message: str,
    tiny: Maker,
    adapter: Maker,
    copy: Any,
    tmp_path: Path,
) -> None:
    lora = copy(adapter(tiny("llama")))
    spoil(lora)
    with pytest.raises(InvalidInput, match=message):
        write(lora, tiny("llama"), tmp_path / "out")


def test_a_folder_that_changes_meanwhile(tiny: Maker, copy: Any, tmp_path: Path) -> None:
    folder = copy(tiny("llama"))

    def meddle(message: str) -> None:
        """Between the first look and the copy: called with 'Copying …'."""
        original = elsewhere.copy_checkpoint

        def changed(source: Path, destination: Path, **rest: Any) -> None:
            write_json(source / "generation_config.json", {"eos_token_id": 1})
            original(source, destination, **rest)

        patch.setattr(elsewhere, "copy_checkpoint", changed)

    (tmp_path / "out").mkdir()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Conflict, match="changed while"):
        elsewhere.write(look_at(folder), None, tmp_path / "out", meddle)


def test_the_name_of_a_base_that_was_made_here(tmp_path: Path) -> None:
    write_json(tmp_path / "source.json", {"model": "smollm2-135m-instruct"})
    assert elsewhere.recorded_base(str(tmp_path)) == "smollm2-135m-instruct"
    assert elsewhere.recorded_base("someone/model") is None


def test_an_adapter_of_the_lm_head_of_tied_embeddings(tiny: Maker, tmp_path: Path) -> None:
    """There is no weight of that name to merge it into: refused, never dropped."""
    base = tiny("llama")
    lora = write_adapter(base, tmp_path / "lora", target_modules=["q_proj", "lm_head"])
    with pytest.raises(InvalidInput, match=r"lm_head"):
        write(lora, base, tmp_path / "out")
