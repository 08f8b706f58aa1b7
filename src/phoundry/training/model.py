"""The model being tuned: loading, its loss on a row, and what is left behind at the end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from torch import Tensor, nn

from phoundry.errors import InvalidInput, NotFound
from phoundry.files import atomic_folder
from phoundry.specs.finetune import FineTuneParameters
from phoundry.training import attention, lora
from phoundry.training.batch import Row
from phoundry.training.loss import cross_entropy_sum

# Decoders whose logits are the plain product of the last hidden state and the output projection,
# and whose attention hands our segments through.
ARCHITECTURES = frozenset({"gemma3_text", "llama", "mistral", "phi3", "qwen2", "qwen3"})
# What transformers takes for keys that a config.json may leave out.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma3_text": {"tie_word_embeddings": True, "head_dim": 256},
    "mistral": {"num_key_value_heads": 8},
}
# Set by no model of these architectures; the loss here would pass over them.
_BEYOND = ("final_logit_softcapping", "attn_logit_softcapping", "use_bidirectional_attention")


def read_config(checkpoint_dir: Path) -> dict[str, Any]:
    """config.json of a checkpoint that may be trained.

    Raises:
        NotFound: there is none.
        InvalidInput: it wants code of its own to run, or its architecture is not known here.
    """
    path = checkpoint_dir / "config.json"
    try:
        config = cast(dict[str, Any], json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise NotFound(f"{checkpoint_dir} holds no config.json.") from None
    if "auto_map" in config:
        raise InvalidInput(
            f"{path} names code of its own (auto_map), which is never run here.",
            remedy="Use a checkpoint of an architecture that transformers knows.",
        )
    kind = str(config.get("model_type"))
    if kind not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise InvalidInput(f"{path}: architecture '{kind}' cannot be tuned here, only {known}.")
    if found := [key for key in _BEYOND if config.get(key)]:
        raise InvalidInput(
            f"{path} has {found[0]}={config[found[0]]!r}, which training does not compute here.",
            remedy="Choose a model without it: no model of the catalog has it.",
        )
    return {**_DEFAULTS.get(kind, {}), **config}


class TunedModel:
    """A causal language model with its trainable weights.

    With `precision` 16 the weights are bfloat16, else float32. With LoRA only adapters train.
    Seed torch before making one: adapters start from random numbers.
    """

    def __init__(self, checkpoint_dir: Path, parameters: FineTuneParameters) -> None:
        from transformers import AutoModelForCausalLM

        read_config(checkpoint_dir)
        dtype = torch.bfloat16 if parameters.precision == "16" else torch.float32
        loaded = AutoModelForCausalLM.from_pretrained(
            checkpoint_dir,
            dtype=dtype,
            attn_implementation=attention.register(),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        self.checkpoint_dir = checkpoint_dir
        self.adapted: PeftModel | None = None
        if parameters.apply_lora:
            loaded.requires_grad_(False)
            self.adapted = lora.add_adapters(loaded, parameters, str(checkpoint_dir))
        # PEFT changes the layers in place: the model underneath is the adapted one.
        self.causal = cast(Any, loaded)
        self.causal.train()

    def trainable(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by name, sorted, so that their order never depends on a library."""
        named = cast(dict[str, nn.Parameter], dict(self.causal.named_parameters()))
        return {name: named[name] for name in sorted(named) if named[name].requires_grad}

    def loss_sum(self, row: Row) -> Tensor:
        """Sum of the losses of the row's supervised tokens (nats, float32)."""
        decoder = getattr(self.causal, self.causal.base_model_prefix)
        output = decoder(
            input_ids=row.token_ids,
            position_ids=row.position_ids,
            use_cache=False,
            segments=row.segments,
        )
        head = cast(nn.Linear, self.causal.get_output_embeddings())
        hidden = output.last_hidden_state[0].index_select(0, row.places)
        return cross_entropy_sum(hidden, head.weight, row.targets, bias=head.bias)

    def save(self, output_dir: Path) -> Path:
        """Write `adapter/` (PEFT's files) or `model/` (Hugging Face layout); returns the folder."""
        if self.adapted is not None:
            with atomic_folder(output_dir / "adapter") as folder:
                # Embeddings are never trained with adapters; looking would ask the hub.
                self.adapted.save_pretrained(str(folder), save_embedding_layers=False)
                # PEFT's empty form of a model card: nobody filled it in.
                (folder / "README.md").unlink(missing_ok=True)
            return output_dir / "adapter"
        with atomic_folder(output_dir / "model") as folder:
            for file in self.checkpoint_dir.iterdir():
                if file.suffix in (".json", ".jinja", ".model") and "index" not in file.name:
                    shutil.copy(file, folder / file.name)
            self.causal.save_pretrained(str(folder))
        return output_dir / "model"
