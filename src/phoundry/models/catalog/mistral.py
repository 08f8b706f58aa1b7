"""Mistral 7B, by Mistral AI."""

from __future__ import annotations

from phoundry.models.catalog.entry import CUSTOMARY, CatalogEntry, Template

ENTRIES = (
    CatalogEntry(
        name="mistral-7b-instruct-v0.3",
        title="Mistral 7B Instruct v0.3",
        family="Mistral",
        licence="Apache-2.0",
        config={
            "model_type": "mistral",
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 32768,
            "max_position_embeddings": 32768,
            "sliding_window": None,
            "tie_word_embeddings": False,
        },
        hub_id="mistralai/Mistral-7B-Instruct-v0.3",
        template=Template(
            "mistral",
            system="before the last user message",
            tools="before the last user message; call ids of nine letters or digits",
        ),
        tokenizer="SentencePiece BPE with byte fallback",
        # Its card carries a gate's text and others report one; what the hub says today wins.
        gated=True,
        aliases=("mistral", "mistral-7b", "mistral-7b-instruct", "mistral:7b"),
        recommended=CUSTOMARY,
        notes=(
            "Its template writes a system message only where the conversation ends with the user: "
            "in rows to learn from it is left out.",
        ),
    ),
)
