"""Tiny checkpoints of every supported architecture, and adapters on them: random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.tiny_tokenizer import make_tiny_tokenizer

# Phi-3.5's way to a long context, for heads of 16.
LONG: dict[str, Any] = {
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0, 1.1, 1.2, 1.4, 1.5, 1.7, 1.8, 2.0],
        "long_factor": [1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0],
    },
    "max_position_embeddings": 1024,
    "original_max_position_embeddings": 256,
}


# What a kind has of its own: Gemma's sixth layer sees everything, the others eight tokens.
OWN: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": None},
    "gemma3_text": {
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "num_hidden_layers": 7,
        "sliding_window": 8,
        "tie_word_embeddings": True,
    },
}


def build(kind: str, folder: Path, seed: int = 0, **changes: Any) -> Path:
    """A checkpoint of `kind` in `folder`: 2 layers, hidden 64, 4 heads over 2 groups, bfloat16."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = make_tiny_tokenizer(folder, style="phi3" if kind == "phi3" else "chatml")
    values: dict[str, Any] = {
        "vocab_size": tokenizer.vocab_size + 32,  # rows that no token has, as real models do
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_ids,
        "pad_token_id": tokenizer.pad_id,
        "tie_word_embeddings": kind == "llama",
        **({"head_dim": 16} if kind in ("llama", "qwen3") else {}),
        **OWN.get(kind, {}),
        # Large enough that the answers of two different models differ.
        "initializer_range": 0.15,
        **changes,
    }
    generation = (folder / "generation_config.json").read_bytes()
    # The test's own random numbers go on as if nothing had been made.
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **values))
        # Norms and biases start as ones and zeros, which would hide mistakes.
        for name, weight in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                weight.add_(0.2 * torch.randn(weight.shape))
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").write_bytes(generation)
    return folder


def write_adapter(base: Path, folder: Path, size: float = 0.3, **settings: Any) -> Path:
    """A LoRA adapter on every linear layer of `base`, as PEFT writes one; B is random, not zero."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    values = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **settings}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **values))
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.copy_(size * torch.randn(weight.shape))
    adapted.save_pretrained(folder)
    return folder
