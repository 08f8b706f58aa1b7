"""Gemma 3, by Google. Its terms must be accepted on the hub before anything is fetched."""

from __future__ import annotations

from typing import Any

from phoundry.models.catalog.entry import CUSTOMARY, CatalogEntry, Template

_TEMPLATE = Template("gemma", system="before the first user message", tools="no")
_TOKENIZER = "SentencePiece BPE with byte fallback"


def _shape(hidden: int, inner: int, layers: int) -> dict[str, Any]:
    """A text-only Gemma 3: five layers of six see a window of 512 tokens."""
    return {
        "model_type": "gemma3_text",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "vocab_size": 262144,
        "max_position_embeddings": 32768,
        "sliding_window": 512,
        "tie_word_embeddings": True,
    }


ENTRIES = (
    CatalogEntry(
        name="gemma-3-270m-it",
        title="Gemma 3 270M",
        family="Gemma 3",
        licence="Gemma",
        config=_shape(640, 2048, 18),
        hub_id="google/gemma-3-270m-it",
        template=_TEMPLATE,
        tokenizer=_TOKENIZER,
        gated=True,
        aliases=("gemma-3-270m", "gemma3-270m", "gemma3:270m"),
        description="Two thirds of its weights are its vocabulary's.",
        recommended=CUSTOMARY,
    ),
    CatalogEntry(
        name="gemma-3-1b-it",
        title="Gemma 3 1B",
        family="Gemma 3",
        licence="Gemma",
        config=_shape(1152, 6912, 26),
        hub_id="google/gemma-3-1b-it",
        template=_TEMPLATE,
        tokenizer=_TOKENIZER,
        gated=True,
        aliases=("gemma-3-1b", "gemma3-1b", "gemma3:1b"),
        recommended=CUSTOMARY,
    ),
    CatalogEntry(
        name="gemma-3-4b-it",
        title="Gemma 3 4B",
        family="Gemma 3",
        licence="Gemma",
        # Gemma3ForConditionalGeneration: the figures of its text part.
        config={
            "model_type": "gemma3",
            "text_config": {
                "model_type": "gemma3_text",
                "hidden_size": 2560,
                "intermediate_size": 10240,
                "num_hidden_layers": 34,
                "sliding_window": 1024,
            },
        },
        hub_id="google/gemma-3-4b-it",
        template=_TEMPLATE,
        tokenizer=_TOKENIZER,
        gated=True,
        aliases=("gemma-3-4b", "gemma3-4b", "gemma3:4b", "gemma3"),
        description="Sees images too; parameters are those of its text part.",
        recommended=CUSTOMARY,
        stored=4_300_079_472,
        notes=(
            "The hub's checkpoint mixes text and image parts. A checkpoint of the text part alone "
            "(Gemma3ForCausalLM) can be used from a folder.",
        ),
    ),
)
