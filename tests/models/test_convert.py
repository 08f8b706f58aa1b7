from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from phoundry.errors import InvalidInput, ModelError
from phoundry.files import read_json, write_json
from phoundry.models.convert import convert, task
from phoundry.models.gguf_file import GGUFFile
from phoundry.spool import Spool
from tests.models.conftest import Maker
from tests.models.llama import Llama
from tests.support.checkpoints import LONG

LLAMA3 = {
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
}
LINEAR = {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}}
GEMMA_SCALED = {
    "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama-untied": ("llama", {"tie_word_embeddings": False, "num_key_value_heads": 4}),
    "llama-wide-heads": ("llama", {"head_dim": 32}),
    "llama-bias": ("llama", {"attention_bias": True}),
    "llama-llama3": ("llama", LLAMA3),
    "llama-linear": ("llama", LINEAR),
    "phi3": ("phi3", {}),
    "phi3-partial-tied": ("phi3", {"partial_rotary_factor": 0.75, "tie_word_embeddings": True}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 32}),
    "mistral": ("mistral", {"head_dim": 32}),
    "gemma3": ("gemma3_text", {}),
    "gemma3-one-group": (
        "gemma3_text",
        {"num_key_value_heads": 1, "head_dim": 32, "query_pre_attn_scalar": 32},
    ),
    "gemma3-scaled": ("gemma3_text", GEMMA_SCALED),
}
PROMPT = [5, 77, 130, 41, 200, 9, 310, 66, 12, 250, 91, 33]


def reference(folder: Path, prompt: list[int]) -> torch.Tensor:
    """transformers' log-probabilities after `prompt`, `(vocabulary,)`, in float32."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)


def distance(found: dict[int, float], expected: torch.Tensor) -> float:
    """Largest difference of the log-probabilities that `found` has."""
    return max(abs(value - float(expected[token])) for token, value in found.items())


@pytest.mark.parametrize("case", CASES)
def test_llama_cpp_computes_what_transformers_does(case: str, tiny: Maker, tmp_path: Path) -> None:
    kind, changes = CASES[case]
    folder = tiny(kind, **changes)
    convert(folder, tmp_path / "model.gguf", "F32")
    found = Llama(tmp_path / "model.gguf").next_logprobs(PROMPT, 20)
    expected = reference(folder, PROMPT)
    assert next(iter(found)) == int(expected.argmax())
    # llama.cpp keeps keys and values in float16: about three decimal digits.
    assert distance(found, expected) < 0.02


@pytest.mark.parametrize(("context", "length"), [(256, 12), (1024, 300)])
def test_longrope_on_both_sides_of_the_original_context(
    context: int, length: int, tiny: Maker, tmp_path: Path
) -> None:
    """llama.cpp chooses the factors by the context it was given, transformers by the text."""
    folder = tiny("phi3", **LONG)
    prompt = [7 + (17 * i) % 300 for i in range(length)]
    convert(folder, tmp_path / "model.gguf", "F32")
    found = Llama(tmp_path / "model.gguf", context).next_logprobs(prompt, 20)
    assert distance(found, reference(folder, prompt)) < 0.02


@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_greedy_answers_are_the_same(kind: str, tiny: Maker, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = tiny(kind)
    convert(folder, tmp_path / "model.gguf", "F32")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = model.generate(
        torch.tensor([PROMPT]), max_new_tokens=12, do_sample=False, eos_token_id=[]
    )[0].tolist()
    llama = Llama(tmp_path / "model.gguf")
    replies = {end: llama.next_logprobs(ids[:end], 1) for end in range(len(PROMPT), len(ids))}
    compared = {end: next(iter(reply)) for end, reply in replies.items() if reply}
    assert len(compared) >= 6
    assert compared == {end: ids[end] for end in compared}


@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_metadata_says_what_the_checkpoint_does(kind: str, tiny: Maker, tmp_path: Path) -> None:
    folder = tiny(kind)
    convert(folder, tmp_path / "model.gguf")
    file = GGUFFile(tmp_path / "model.gguf")
    names = read_json(folder / "tokenizer_config.json")
    tokens = file.get("tokenizer.ggml.tokens")
    assert file.architecture == kind
    assert file.get("tokenizer.ggml.pre") == "smollm"
    assert tokens[file.get("tokenizer.ggml.eos_token_id")] == names["eos_token"]
    assert file.get("tokenizer.ggml.add_bos_token") is False
    assert file.get("tokenizer.chat_template") == (folder / "chat_template.jinja").read_text()
    assert len(tokens) == read_json(folder / "config.json")["vocab_size"]
    assert tokens[-1].startswith("[PAD")
    end_of_turn = file.get("tokenizer.ggml.eot_token_id")
    assert (None if end_of_turn is None else tokens[end_of_turn]) == (
        "<|end|>" if kind == "phi3" else None
    )


def test_llama_cpp_cuts_a_text_as_the_tokenizer_does(tiny: Maker, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    folder = tiny("llama")
    convert(folder, tmp_path / "model.gguf")
    llama, tokenizer = (
        Llama(tmp_path / "model.gguf"),
        Tokenizer.from_file(str(folder / "tokenizer.json")),
    )
    for text in ("In 2026,  12 permits ½", "<|im_start|>user\nÅtta hus!<|im_end|>\n", "a\n\n\tb"):
        usage = llama.complete(text, 1)["usage"]
        assert usage["prompt_tokens"] == len(tokenizer.encode(text).ids)


def _drop(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        del weights[name]
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    return spoil


def _config(**changes: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        write_json(folder / "config.json", {**read_json(folder / "config.json"), **changes})

    return spoil


def _add(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.self_attn.q_proj.lora_A.weight"] = torch.zeros(2)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _diverge(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][3] = math.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop("model.layers.1.mlp.up_proj.weight"), "lacks the tensors"),
        (_drop("model.norm.weight"), r"lacks the tensors model\.norm\.weight"),
        (_add, "lora_A"),
        (_diverge, "not finite"),
        (_config(model_type="gpt2"), "Phi3ForCausalLM"),
        (_config(auto_map={"AutoModel": "code.py"}), "auto_map"),
        (_config(hidden_act="gelu"), "gelu"),
        (_config(rope_parameters={"rope_type": "dynamic"}), "dynamic"),
        (
            _config(
                rope_parameters={
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "beta_fast": 16.0,
                    "original_max_position_embeddings": 64,
                }
            ),
            "YaRN with beta_fast=16",
        ),
        (_config(vocab_size=300), "rows for 300"),
    ],
)
def test_what_cannot_be_converted_leaves_nothing(
    spoil: Callable[[Path], None], message: str, tiny: Maker, copy: Any, tmp_path: Path
) -> None:
    folder = copy(tiny("llama"))
    spoil(folder)
    with pytest.raises(InvalidInput, match=message):
        convert(folder, tmp_path / "out" / "model.gguf")
    assert not list(tmp_path.glob("out/*"))


def test_what_llama_cpp_has_otherwise_in_gemma_is_refused_at_once(
    tiny: Maker, copy: Any, tmp_path: Path
) -> None:
    folder = copy(tiny("gemma3_text"))
    _config(
        query_pre_attn_scalar=8,
        final_logit_softcapping=30.0,
        use_bidirectional_attention=True,
        layer_types=["full_attention"] * 7,
        rope_parameters={"sliding_attention": {"rope_theta": 5e5, "rope_type": "default"}},
    )(folder)
    with pytest.raises(InvalidInput) as caught:
        convert(folder, tmp_path / "model.gguf")
    assert {fault.reason.partition(" ")[0] for fault in caught.value.faults} == {
        "query_pre_attn_scalar",
        "final_logit_softcapping",
        "use_bidirectional_attention",
        "layer_types",
        "rope_local_base_freq",
    }


def test_gemma_as_its_hub_writes_it(tiny: Maker, copy: Any, tmp_path: Path) -> None:
    """Older keys, and those left out that transformers has defaults for: the same file."""
    folder = copy(tiny("gemma3_text"))
    convert(folder, tmp_path / "new.gguf", name="m")
    config = read_json(folder / "config.json")
    for key in ("rope_parameters", "layer_types", "tie_word_embeddings"):
        del config[key]
    old = {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "sliding_window_pattern": 6}
    write_json(folder / "config.json", {**config, **old, "rope_scaling": None})
    convert(folder, tmp_path / "old.gguf", name="m")
    assert (tmp_path / "old.gguf").read_bytes() == (tmp_path / "new.gguf").read_bytes()


def test_a_window_that_llama_cpp_does_not_have_is_told(tiny: Maker, tmp_path: Path) -> None:
    assert convert(tiny("mistral"), tmp_path / "model.gguf")["notices"] == []
    (notice,) = convert(tiny("mistral", sliding_window=64), tmp_path / "model.gguf")["notices"]
    assert "looks back 64 tokens" in notice


def test_a_killed_conversion_leaves_nothing_for_long(tiny: Maker, tmp_path: Path) -> None:
    finished = subprocess.Popen(["true"])
    finished.wait()
    orphan = tmp_path / f".model.gguf.{finished.pid}.x1_"
    other = tmp_path / f".model.gguf.{os.getpid()}.x1_"
    for path in (orphan, other):
        path.write_bytes(b"half")
    convert(tiny("llama"), tmp_path / "model.gguf")
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "model.gguf"]


def test_a_phi3_without_the_token_that_llama_cpp_looks_up(
    tiny: Maker, copy: Any, tmp_path: Path
) -> None:
    folder = copy(tiny("phi3"))
    text = (folder / "tokenizer.json").read_text().replace("<|endoftext|>", "<|other|>")
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"<\|endoftext\|>"):
        convert(folder, tmp_path / "model.gguf")


def test_an_unknown_quantisation(tiny: Maker, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Choose one of Q8_0, Q5_1, Q4_0, F16, BF16, F32"):
        convert(tiny("llama"), tmp_path / "model.gguf", "Q3_K")


def test_an_unknown_way_of_cutting_is_told(tiny: Maker, copy: Any, tmp_path: Path) -> None:
    folder = copy(tiny("llama"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"]["pretokenizers"][0] = {"type": "Whitespace"}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    result = convert(folder, tmp_path / "model.gguf")
    assert "no name for how this tokenizer cuts" in result["notices"][0]


def test_the_worker_tells_what_it_made(tiny: Maker, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "events.jsonl")
    spec = {
        "checkpoint_dir": str(tiny("llama")),
        "gguf_path": str(tmp_path / "model.gguf"),
        "quantization": "Q8_0",
    }
    result = task(spec, tmp_path, spool)
    assert result["quantization"] == "Q8_0"
    assert (tmp_path / "model.gguf").read_bytes()[:4] == b"GGUF"
    assert {event["kind"] for event in spool.read()[0]} == {"progress"}


def test_weights_that_changed_are_not_served(tiny: Maker, copy: Any, tmp_path: Path) -> None:
    from phoundry.models.tensors import sha256_weights

    folder = copy(tiny("llama"))
    spec = {
        "checkpoint_dir": str(folder),
        "gguf_path": str(tmp_path / "out" / "model.gguf"),
        "sha256": sha256_weights(folder),
    }
    spool = Spool(tmp_path / "events.jsonl")
    task(spec, tmp_path, spool)
    (tmp_path / "out" / "model.gguf").unlink()
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-2, 2)
        file.write(b"\x00\x01")
    with pytest.raises(ModelError, match="have changed since they were recorded"):
        task(spec, tmp_path, spool)
    assert not list(tmp_path.glob("out/*.gguf"))


def test_converting_twice_gives_the_same_bytes(tiny: Maker, tmp_path: Path) -> None:
    first = convert(tiny("phi3"), tmp_path / "one.gguf")
    second = convert(tiny("phi3"), tmp_path / "two.gguf")
    assert first["sha256"] == second["sha256"]


def test_float32_weights_survive_the_way_through_gguf(tiny: Maker, tmp_path: Path) -> None:
    """Names, permutation and shapes: back from GGUF is what went in."""
    from phoundry.models.from_gguf import write_checkpoint

    for kind in ("llama", "phi3", "qwen2", "qwen3", "gemma3_text"):
        convert(tiny(kind), tmp_path / f"{kind}.gguf", "F32")
        (tmp_path / kind).mkdir()
        write_checkpoint(tmp_path / f"{kind}.gguf", tmp_path / kind)
        before = load_file(tiny(kind) / "model.safetensors")
        after = load_file(tmp_path / kind / "model.safetensors")
        assert before.keys() == after.keys()
        for name, tensor in before.items():
            np.testing.assert_array_equal(tensor.float(), after[name].float(), err_msg=name)


@pytest.mark.parametrize("kind", ["llama", "phi3"])
@pytest.mark.parametrize("name", ["better-than-phi3", "my-Phi-3"])
def test_a_name_that_llama_cpp_misreads_still_loads(
    kind: str, name: str, tiny: Maker, tmp_path: Path
) -> None:
    convert(tiny(kind), tmp_path / "m.gguf", "F16", name=name)
    assert Llama(tmp_path / "m.gguf").complete(PROMPT, 2)
