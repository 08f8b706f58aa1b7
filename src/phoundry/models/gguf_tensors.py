"""Every tensor of a checkpoint as llama.cpp wants it: name, shape, and how it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phoundry.errors import InvalidInput
from phoundry.models.architectures import Architecture, permute
from phoundry.models.gguf_metadata import rope_tensors
from phoundry.models.tensors import Weights

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tensor:
    """`make` is called when the tensor's turn comes."""

    name: str  # llama.cpp's
    shape: tuple[int, ...]
    make: Callable[[], Floats]


def plan(weights: Weights, kind: Architecture, config: dict[str, Any]) -> list[Tensor]:
    """Every tensor under llama.cpp's name, the rotary factors first.

    Raises:
        InvalidInput: the checkpoint lacks a tensor, or has one that llama.cpp has no name for.
    """
    tensors = [
        Tensor(name, factors.shape, lambda factors=factors: factors)
        for name, factors in rope_tensors(config).items()
    ]
    tied = bool(config.get("tie_word_embeddings"))
    found: set[str] = set()
    for name in weights.names:
        # A copy of the embedding that some checkpoints carry; inv_freq follows from the config.
        if (tied and name == "lm_head.weight") or name.endswith("rotary_emb.inv_freq"):
            continue
        target = kind.gguf_name(name)
        if target is None:
            raise InvalidInput(
                f"The checkpoint holds the tensor '{name}', which llama.cpp's {kind.gguf} has not.",
                remedy="Merge adapters first; quantised checkpoints cannot be converted.",
            )
        found.add(name)
        make = _maker(weights, name, kind.rotated_heads(name, config), kind.offset(name))
        tensors.append(Tensor(target, weights.info(name).shape, make))
    _check_complete(found, kind, config, tied=tied)
    return tensors


def _maker(weights: Weights, name: str, heads: int | None, offset: float) -> Callable[[], Floats]:
    def make() -> Floats:
        values = weights.floats(name)
        if offset:
            values = values + values.dtype.type(offset)
        return permute(values, heads) if heads else values

    return make


def _check_complete(
    found: set[str], kind: Architecture, config: dict[str, Any], *, tied: bool
) -> None:
    """Every layer has the tensors that layer 0 has, and the outer ones are there."""
    needed = {"model.embed_tokens.weight", "model.norm.weight"}
    if not tied:
        needed.add("lm_head.weight")
    first = [part for part in kind.layer if f"model.layers.0.{part}" in found]
    required = [part for part in kind.layer if not part.endswith(".bias")]
    for number in range(int(config["num_hidden_layers"])):
        needed |= {f"model.layers.{number}.{part}" for part in {*first, *required}}
    if missing := sorted(needed - found):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InvalidInput(
            f"The checkpoint lacks the tensors {', '.join(missing[:3])}{more}.",
            remedy="The download or the merge did not finish: make the checkpoint again.",
        )
