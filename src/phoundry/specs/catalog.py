"""Base models: what is known of one, and whether this machine can train and serve it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from phoundry.specs.base import View

Fits = Literal["yes", "tight", "no"]


class Need(View):
    """What one use of a model takes, beside what this machine has."""

    bytes: int
    fits: Fits = Field(
        description="yes: what is free now is enough, a tenth to spare; tight: less to spare, or "
        "other programs must end; no: more than this machine has"
    )
    missing_bytes: int = Field(default=0, description="What must be freed (tight) or added (no)")
    note: str = ""


class Needs(View):
    """Every use of a model. Memory is at its peak, in bytes; disk is what stays."""

    train_full: Need
    train_lora: Need
    train_qlora: Need
    serve_q8_0: Need
    serve_bf16: Need
    disk: Need

    max_seq_length: int = Field(description="Tokens of a row that the training figures are for")
    context_length: int = Field(description="Tokens of a conversation that serving is for")
    conversations: int = Field(description="Conversations that Q8_0 serves together")
    precision: str = Field(description="Of the training figures: 16 or 32")


class CatalogModel(View):
    """A base model that can be named."""

    kind: Literal["base"] = "base"
    name: str
    title: str = ""
    family: str = ""
    parameters: int = Field(description="Number of weights")
    context_length: int
    architecture: str = Field(default="", description="model_type of its config.json")
    licence: str = Field(description="As its publisher names it; empty where it is not told")
    licence_url: str | None = None
    gated: bool | None = Field(
        default=None, description="Whether a licence must be accepted on the hub before fetching"
    )
    template: str = Field(default="", description="Form of its chat template")
    system: str = Field(default="", description="Where its template puts a system message")
    tools: str = Field(default="", description="Where its template puts tools")
    tokenizer: str = ""
    source: str = Field(description="package:…, hub:…, folder:… or gguf:…")
    sources: list[str] = Field(default_factory=list[str], description="Everywhere it can come from")
    aliases: list[str] = Field(default_factory=list[str])
    download_bytes: int | None = Field(default=None, description="Of the weights at their source")
    usable: bool = True
    obstacle: str | None = Field(default=None, description="Why it cannot be used here")
    needs: Needs | None = None
    recommended: dict[str, Any] = Field(
        default_factory=dict[str, Any], description="Parameters that training takes by default"
    )
    description: str = ""
    notes: list[str] = Field(default_factory=list[str])
