"""What is known of a base model, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from phoundry.models.catalog.sizes import count_parameters

LICENCE_URLS = {
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "MIT": "https://opensource.org/license/mit",
    "Llama 3.2 Community": "https://www.llama.com/llama3_2/license/",
    "Gemma": "https://ai.google.dev/gemma/terms",
}
# Customary for LoRA on chats; not measured here.
CUSTOMARY: Mapping[str, Any] = {
    "apply_lora": True,
    "lora_r": 16,
    "lora_alpha": 32,
    "learning_rate": 2e-4,
    "lr_scheduler_type": "cosine",
}


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
class Template:
    """A family's chat template: what its turns look like, and what it has a place for."""

    name: str  # "chatml"
    system: str  # where a system message goes: "own turn", "before the first user message", …
    tools: str  # the same for tools; "no" where the template ignores them


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A known base model.

    `config` holds the facts of its Hugging Face config.json that sizes are computed from.
    `recommended` holds fine-tuning parameters that suit it (the layer `model` of
    `specs.finetune.resolve`). `stored` is the number of weights in the hub's files where they hold
    a tied table twice. `notes` are things to know before choosing it.
    """

    name: str
    title: str
    family: str
    licence: str
    config: Mapping[str, Any]
    hub_id: str
    template: Template
    tokenizer: str
    gated: bool = False
    package: PackageFile | None = None
    aliases: tuple[str, ...] = ()
    description: str = ""
    recommended: Mapping[str, Any] = field(default_factory=dict[str, Any])
    stored: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        return str(self.package) if self.package else f"hub:{self.hub_id}"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, self.hub_id, *self.aliases)

    @property
    def licence_url(self) -> str:
        return LICENCE_URLS[self.licence]

    @property
    def download_bytes(self) -> int:
        """Bytes of the weights where they come from; the hub keeps all of these in bfloat16."""
        if self.package:
            return self.package.size
        return 2 * (self.stored or count_parameters(self.config))
