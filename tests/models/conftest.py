"""Tiny checkpoints of every supported architecture, with random weights and a real tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|end|>", "<|user|>", "<|assistant|>"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content']"
    " + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TEXT = [
    "Who founded Microsoft? Bill Gates and Paul Allen founded it in 1975.",
    "A building permit takes six weeks; the fee is 1,250 euros for a house of 120 square metres.",
    "Söderköping ligger i Östergötland. Det är 42 km till Norrköping!",
] * 3

Maker = Callable[..., Path]


def write_tokenizer(folder: Path) -> int:
    """A byte-level BPE tokenizer cut as SmolLM2's is; returns the size of its vocabulary."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=[AddedToken(token, normalized=False) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 128,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return tokenizer.get_vocab_size()


def build(kind: str, folder: Path, seed: int = 0, **changes: Any) -> Path:
    """A checkpoint of `kind` in `folder`: 2 layers, hidden 64, 4 heads over 2 groups, bfloat16."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    size = write_tokenizer(folder)
    values: dict[str, Any] = {
        "vocab_size": -(-size // 32) * 32,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
        "tie_word_embeddings": kind == "llama",
        **({"head_dim": 16} if kind in ("llama", "qwen3") else {}),
        # Large enough that the answers of two different models differ.
        "initializer_range": 0.15,
        **changes,
    }
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **values))
    model = model.to(torch.bfloat16).eval()
    model.generation_config.eos_token_id = 2
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """`tiny("phi3")`: a checkpoint that no test writes to, made once a process."""
    made: dict[str, Path] = {}
    root = tmp_path_factory.mktemp("tiny")

    def get(kind: str, **changes: Any) -> Path:
        key = f"{kind}-{json.dumps(changes, sort_keys=True)}"
        if key not in made:
            made[key] = build(kind, root / str(len(made)), **changes)
        return made[key]

    return get
