"""The model being tuned: loading, its loss on a row, its answers, and what is left at the end."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from phoundry.files import atomic_folder, read_json, write_json
from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.batch import Row
from phoundry.training.decoder.architecture import Architecture, read_config
from phoundry.training.decoder.layout import Group
from phoundry.training.decoder.stack import Decoder
from phoundry.training.decoder.together import answers
from phoundry.training.decoder.weights import read_tensors, write_tensors
from phoundry.training.loss import Logits, cross_entropy_and_hits, cross_entropy_sum


@dataclass(frozen=True, slots=True)
class Measure:
    """Of a row's supervised tokens: the sum of losses (nats), and how many are the likeliest."""

    loss_sum: float
    correct: int
    targets: int


class TunedModel:
    """A causal language model with its trainable weights.

    With `precision` 16 the weights are bfloat16, else float32. With LoRA only adapters train.
    Seed torch before making one: adapters start from random numbers.

    Args:
        recompute: compute layers again in the backward pass instead of keeping them.
        device: where it trains; None: the processor.
    """

    def __init__(
        self,
        checkpoint_dir: Path,
        parameters: FineTuneParameters,
        *,
        recompute: bool = False,
        device: torch.device | None = None,
    ) -> None:
        self.checkpoint_dir, self.parameters = checkpoint_dir, parameters
        self.device = device or torch.device("cpu")
        architecture = Architecture.from_config(read_config(checkpoint_dir))
        dtype = torch.bfloat16 if parameters.precision == "16" else torch.float32
        tensors = read_tensors(checkpoint_dir, architecture, dtype, self.device)
        self.decoder = Decoder(architecture, tensors, recompute=recompute)
        p = parameters
        self._logits = Logits()
        self._trained = (
            self.decoder.add_adapters(p.lora_r, p.lora_alpha, p.lora_dropout)
            if p.apply_lora
            else self.decoder.train_all()
        )

    def trainable(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by name, sorted: transformers' names, and PEFT's under them."""
        return {name: self._trained[name] for name in sorted(self._trained)}

    def train(self, mode: bool = True) -> None:
        """Dropout on or off."""
        self.decoder.training = mode

    def loss_sum(self, row: Row) -> Tensor:
        """Sum of the losses of the row's supervised tokens (nats, float32)."""
        return cross_entropy_sum(*self._asked(row), self._logits)

    @torch.no_grad()
    def measure(self, row: Row) -> Measure:
        """The same without gradients or dropout, and how many tokens it would have said."""
        was, self.decoder.training = self.decoder.training, False
        loss, correct = cross_entropy_and_hits(*self._asked(row), self._logits)
        self.decoder.training = was
        return Measure(loss, correct, len(row.targets))

    @torch.no_grad()
    def likeliest(self, token_ids: Sequence[int], start: int) -> tuple[list[int], list[float]]:
        """What it says at each place from `start` on, after all of `token_ids` before that place,
        and by how many logits before its second choice. One forward pass gives
        `len(token_ids) - start` of both."""
        was, self.decoder.training = self.decoder.training, False
        ids = torch.tensor(token_ids, device=self.device)
        places = torch.arange(start - 1, len(ids) - 1, device=self.device)
        hidden = self.decoder.hidden(ids, [Group(0, (len(ids),))], places)[: len(places)]
        top = (hidden @ self.decoder.head.T).float().topk(2)
        self.decoder.training = was
        margins = top.values[:, 0] - top.values[:, 1]
        return cast("list[int]", top.indices[:, 0].tolist()), cast("list[float]", margins.tolist())

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: Sequence[int],
        stop: Collection[int],
    ) -> list[list[int]]:
        """The likeliest answers, each without the token of `stop` that ends it.

        Args:
            max_new_tokens: of each answer; at least one.
        """
        return answers(self.decoder, prompts, max_new_tokens, frozenset(stop))

    def save(self, output_dir: Path) -> Path:
        """Write `adapter/` (PEFT's files) or `model/` (Hugging Face layout); returns the folder."""
        if self.parameters.apply_lora:
            with atomic_folder(output_dir / "adapter") as folder:
                self._save_adapter(folder)
            return output_dir / "adapter"
        with atomic_folder(output_dir / "model") as folder:
            for file in self.checkpoint_dir.iterdir():
                if file.suffix in (".json", ".jinja", ".model") and "index" not in file.name:
                    shutil.copy(file, folder / file.name)
            write_tensors(folder, self.decoder.state())
            config = {**read_json(self.checkpoint_dir / "config.json"), "dtype": _name(self.dtype)}
            config.pop("torch_dtype", None)
            write_json(folder / "config.json", config)
        return output_dir / "model"

    @property
    def dtype(self) -> torch.dtype:
        return self.decoder.embedding.dtype

    def _asked(self, row: Row) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states where a token is predicted, the output projection, and those tokens."""
        ids, places = row.token_ids.to(self.device), row.places.to(self.device)
        hidden = self.decoder.hidden(ids, row.groups, places)
        return hidden, self.decoder.head, row.targets.to(self.device)

    def _save_adapter(self, folder: Path) -> None:
        """adapter_config.json and adapter_model.safetensors as `PeftModel.from_pretrained` reads
        them (tested)."""
        from safetensors import torch as files

        p = self.parameters
        tensors = {
            f"base_model.model.{name}": weight.detach().cpu().contiguous()
            for name, weight in self.trainable().items()
        }
        cast(Any, files).save_file(
            tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"}
        )
        modules = {name.rsplit(".", 3)[1] for name in tensors}
        config: dict[str, Any] = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": str(self.checkpoint_dir),
            "revision": None,
            "inference_mode": True,
            "r": p.lora_r,
            "lora_alpha": p.lora_alpha,
            "lora_dropout": p.lora_dropout,
            "target_modules": sorted(modules),
            "exclude_modules": None,
            "bias": "none",
            "fan_in_fan_out": False,
            "init_lora_weights": True,
            "modules_to_save": None,
            "use_rslora": False,
            "use_dora": False,
        }
        write_json(folder / "adapter_config.json", config)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
