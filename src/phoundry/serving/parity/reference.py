"""The reference: the checkpoint in transformers. Imports torch; only the gate's worker loads it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

from phoundry.errors import InsufficientResources
from phoundry.files import in_words, read_json
from phoundry.serving.engines.checkpoint import load_model
from phoundry.serving.parity.steps import Place

# Weights are not all: a part of this is for what the forward pass needs.
_SHARE_OF_FREE = 0.8


class Reference:
    """The model as it was registered, in float32 where the memory is there, else as it is.

    float32 adds no rounding of its own, so what is seen is the engine's.
    """

    def __init__(self, folder: Path, *, threads: int, free: int | None = None) -> None:
        """Raises ModelError, InsufficientResources."""
        torch.set_num_threads(threads)
        available = psutil.virtual_memory().available if free is None else free
        self.dtype = _dtype(folder, available)
        self._model: Any = load_model(folder, self.dtype)

    @property
    def name(self) -> str:
        return f"transformers, {str(self._model.dtype).removeprefix('torch.')}"

    @torch.inference_mode()
    def places(
        self,
        prompt_ids: Sequence[int],
        answer_ids: Sequence[int],
        said: Sequence[int],
        end_ids: Collection[int],
    ) -> list[Place]:
        """What it thinks at each place of the answer, and of what comes after: one more than the
        answer has tokens. Cost: one forward pass over both.

        Args:
            said: the tokens that are judged, one a place: the answer's own, or another model's.
        """
        ids = torch.tensor([[*prompt_ids, *answer_ids]])
        kept = len(answer_ids) + 1
        logits = self._model(input_ids=ids, use_cache=False, logits_to_keep=kept).logits
        logits = logits[0, -kept:].float()  # (answer + 1, vocabulary)
        top = logits.topk(2)
        ends = torch.tensor(sorted(end_ids), dtype=torch.long)
        ends = ends[ends < logits.shape[1]]
        best_end = logits[:, ends].amax(1) if len(ends) else torch.full((kept,), -torch.inf)
        judged = logits[range(len(said)), list(said)]
        return [
            Place(
                best=int(top.indices[t, 0]),
                margin=float(top.values[t, 0] - top.values[t, 1]),
                behind=float(top.values[t, 0] - judged[t]) if t < len(said) else 0.0,
                end_behind=float(top.values[t, 0] - best_end[t]),
                spread=float(logits[t].std()),
            )
            for t in range(kept)
        ]


def _dtype(folder: Path, free: int) -> str:
    """`float32`, or `auto` (as the checkpoint has it) where float32 would not fit."""
    stored = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    config: dict[str, Any] = read_json(folder / "config.json") or {}
    wide = config.get("dtype", config.get("torch_dtype")) in ("float32", "float64")
    whole = stored if wide else 2 * stored
    room = int(_SHARE_OF_FREE * free)
    if whole <= room:
        return "float32"
    if stored <= room:
        return "auto"
    raise InsufficientResources(
        f"The reference of the gate needs {in_words(stored)}; {in_words(free)} are free.",
        remedy="End other jobs or deployments, or deploy without the gate: --no-gate.",
    )
