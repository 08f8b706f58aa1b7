"""A GGUF file as a Hugging Face folder: config, bfloat16 weights, tokenizer, chat template."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from phoundry.errors import InvalidInput
from phoundry.files import write_atomic, write_json
from phoundry.models.architectures import Architecture, architecture_of_gguf, unpermute
from phoundry.models.gguf_file import GGUFFile
from phoundry.models.gguf_gemma import gemma_config
from phoundry.models.gguf_rope import FACTORS, rope_of_gguf
from phoundry.models.gguf_tokenizer import tokenizer_config, tokenizer_json
from phoundry.models.tensors import SINGLE, Planned, to_bfloat16, write_safetensors

# Metadata key (without the architecture) to key of config.json.
_CONFIG = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}


def write_checkpoint(path: Path, folder: Path) -> None:
    """Write the model in `path` into the existing `folder`.

    Weights are dequantised and rounded to bfloat16, one tensor in memory at a time.

    Raises:
        InvalidInput: damaged, of an architecture or a tokenizer that is not supported.
    """
    source = GGUFFile(path)
    kind = architecture_of_gguf(source.architecture)
    config = config_of(source, kind)
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", generation_config(source))
    write_atomic(folder / "tokenizer.json", tokenizer_json(source))
    write_json(folder / "tokenizer_config.json", tokenizer_config(source))
    if template := source.get("tokenizer.chat_template"):
        write_atomic(folder / "chat_template.jinja", str(template))
    write_safetensors(folder / SINGLE, plan(source, kind, config))


def config_of(source: GGUFFile, kind: Architecture) -> dict[str, Any]:
    """config.json for the model in `source`."""
    config: dict[str, Any] = {"architectures": [kind.model_class], "model_type": kind.name}
    for key, name in _CONFIG.items():
        if (value := source.get("{arch}." + key)) is not None:
            config[name] = value
    missing = sorted({"hidden_size", "num_hidden_layers", "num_attention_heads"} - set(config))
    if missing:
        raise InvalidInput(f"{source.path} lacks metadata for {', '.join(missing)}.")
    # Stored as float32: 9.999999747378752e-06 was written as 1e-05.
    config["rms_norm_eps"] = float(f"{config.get('rms_norm_eps', 1e-5):.6g}")
    config["hidden_act"] = kind.activation
    config["vocab_size"] = source.tensors["token_embd.weight"].shape[0]
    config["tie_word_embeddings"] = "output.weight" not in source.tensors
    head_dim = config["hidden_size"] // config["num_attention_heads"]
    if kind.name != "phi3":
        config["head_dim"] = source.get("{arch}.attention.key_length", head_dim)
    if "blk.0.attn_q.bias" in source.tensors and kind.name == "llama":
        config["attention_bias"] = True
    if window := source.get("{arch}.attention.sliding_window"):
        config["sliding_window"] = window
    config["rope_parameters"] = rope_of_gguf(source, config, head_dim)
    if kind.name == "gemma3_text":
        config |= gemma_config(source, config)
    for name in ("bos", "eos"):
        config[f"{name}_token_id"] = source.get(f"tokenizer.ggml.{name}_token_id")
    config["pad_token_id"] = _pad(source)
    config["dtype"] = "bfloat16"
    return config


def generation_config(source: GGUFFile) -> dict[str, Any]:
    """generation_config.json: where an answer ends.

    llama.cpp ends at the end-of-turn token too; Hugging Face lists every such token here.
    """
    ends = [source.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot")]
    unique = list(dict.fromkeys(end for end in ends if end is not None))
    return {
        "bos_token_id": source.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": unique[0] if len(unique) == 1 else unique,
        "pad_token_id": _pad(source),
    }


def plan(source: GGUFFile, kind: Architecture, config: dict[str, Any]) -> list[Planned]:
    """Every tensor under its Hugging Face name, to be dequantised when its turn comes."""
    tensors: list[Planned] = []
    for tensor in source.tensors.values():
        if tensor.name in FACTORS:
            continue
        name = kind.hf_name(tensor.name)
        if name is None:
            raise InvalidInput(
                f"{source.path} holds the tensor '{tensor.name}', which Phoundry cannot place.",
                remedy="Use the model's Hugging Face checkpoint instead of its GGUF file.",
            )
        make = functools.partial(
            _bytes,
            source,
            tensor.name,
            heads=kind.rotated_heads(name, config),
            offset=kind.offset(name),
        )
        tensors.append(Planned(name, "BF16", tensor.shape, make))
    return sorted(tensors, key=lambda planned: planned.name)


def _bytes(source: GGUFFile, name: str, *, heads: int | None, offset: float) -> memoryview:
    values = source.floats(name)
    if offset:
        values = values - values.dtype.type(offset)
    return to_bfloat16(unpermute(values, heads) if heads else values)


def _pad(source: GGUFFile) -> int | None:
    pad = source.get("tokenizer.ggml.padding_token_id")
    return source.get("tokenizer.ggml.eos_token_id") if pad is None else pad
