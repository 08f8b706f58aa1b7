"""A checkpoint's tensors: read by name, checked whole, and written back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from phoundry.errors import InvalidInput, NotFound
from phoundry.training.decoder.architecture import Architecture

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
EMBEDDING, NORM, HEAD = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"


def layer_shapes(a: Architecture) -> dict[str, tuple[int, ...]]:
    """The tensors that every layer must have, by their name in it."""
    q, kv = a.query_width, a.key_width
    attention = (
        {"qkv_proj": (q + 2 * kv, a.hidden)}
        if a.fused
        else {"q_proj": (q, a.hidden), "k_proj": (kv, a.hidden), "v_proj": (kv, a.hidden)}
    )
    inputs = (
        {"gate_up_proj": (2 * a.intermediate, a.hidden)}
        if a.fused
        else dict.fromkeys(("gate_proj", "up_proj"), (a.intermediate, a.hidden))
    )
    shapes: dict[str, tuple[int, ...]] = {
        **{f"self_attn.{name}.weight": shape for name, shape in attention.items()},
        "self_attn.o_proj.weight": (a.hidden, q),
        **{f"mlp.{name}.weight": shape for name, shape in inputs.items()},
        "mlp.down_proj.weight": (a.hidden, a.intermediate),
    }
    norms = ["input_layernorm", "post_attention_layernorm"]
    norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"] if a.gemma else []
    shapes |= {f"{name}.weight": (a.hidden,) for name in norms}
    if a.head_norms:
        shapes |= {f"self_attn.{name}.weight": (a.head_width,) for name in ("q_norm", "k_norm")}
    return shapes


def read_tensors(
    checkpoint_dir: Path, a: Architecture, dtype: torch.dtype, device: torch.device
) -> dict[str, Tensor]:
    """Every tensor of the model by transformers' name, as `dtype` on `device`.

    Raises:
        NotFound: there are no safetensors.
        InvalidInput: tensors are missing, unknown, or of another shape: the first ones named.
    """
    tensors = {
        # A copy: what is read is a view of the mapped file, whose pages would stay in memory.
        name: tensor.to(device, dtype, copy=True)
        for name, tensor in _stored(checkpoint_dir)
        # A copy of the embedding that some checkpoints carry; inv_freq follows from the config.
        if not (a.tied and name == HEAD) and not name.endswith("rotary_emb.inv_freq")
    }
    _check(checkpoint_dir, tensors, _expected(a))
    return tensors


def write_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """One safetensors file with every tensor, as transformers reads it."""
    from safetensors import torch as files

    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    cast(Any, files).save_file(contiguous, folder / SINGLE, metadata={"format": "pt"})


def _expected(a: Architecture) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        EMBEDDING: (a.vocabulary, a.hidden),
        NORM: (a.hidden,),
    }
    if not a.tied:
        shapes[HEAD] = (a.vocabulary, a.hidden)
    for number in range(a.layers):
        shapes |= {f"model.layers.{number}.{n}": shape for n, shape in layer_shapes(a).items()}
    return shapes


def _check(folder: Path, found: Mapping[str, Tensor], wanted: dict[str, tuple[int, ...]]) -> None:
    wrong = [
        f"{name} is {tuple(found[name].shape)}, config.json says {shape}"
        if name in found
        else f"{name} is missing"
        for name, shape in wanted.items()
        if name not in found or tuple(found[name].shape) != shape
    ]
    biases = {name.removesuffix("weight") + "bias" for name in wanted if "_proj." in name}
    wrong += [f"{name} is unknown" for name in sorted(found.keys() - wanted.keys() - biases)]
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise InvalidInput(
            f"The weights in {folder} are not those of its config.json: "
            f"{'; '.join(wrong[:3])}{more}.",
            remedy="Fetch or save the checkpoint again.",
        )


def _stored(checkpoint_dir: Path) -> Iterator[tuple[str, Tensor]]:
    from safetensors import safe_open

    index = checkpoint_dir / INDEX
    names: list[str] = [SINGLE]
    if index.is_file():
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    for name in names:
        path = checkpoint_dir / name
        if not path.is_file():
            raise NotFound(
                f"{checkpoint_dir} has no {name}.", remedy="Save the model as safetensors."
            )
        with cast(Any, safe_open)(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - no mapping
                yield str(key), file.get_tensor(key)
