"""transformers' logits, with weights that come from anywhere and one layer at a time.

The model is built without its weights (on torch's device `meta`); each module asks for its own when
its turn comes and forgets them after. So a model of any size is run in float32 with the memory of
its largest matrix, and the same graph serves a checkpoint, a GGUF file read back, or any other
reading: what differs between two runs are the weights alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

# A tensor by its Hugging Face name, float32, of its own shape.
Read = Callable[[str], "Floats"]


def run(model: Any, read: Read, ids: Sequence[int], lengths: Sequence[int]) -> Floats:
    """Natural log-probabilities of the token after the first `n` of `ids`, for each `n`.

    `model` is a `skeleton`, which is one again afterwards; `read` gives its weights.

    Returns:
        `(len(lengths), vocabulary)`, float32.
    """
    import torch

    tied = bool(model.config.tie_word_embeddings)
    hooks: list[Any] = []
    for path, module in model.named_modules():
        names = [name for name, _ in module.named_parameters(recurse=False)]
        if names:
            source = "model.embed_tokens" if tied and path == "lm_head" else path
            hooks.append(module.register_forward_pre_hook(_filler(read, source, names)))
            hooks.append(module.register_forward_hook(_emptier(names)))
    keep = torch.tensor([length - 1 for length in lengths])
    try:
        with torch.inference_mode():
            logits: Any = model(
                torch.tensor([list(ids)]), use_cache=False, logits_to_keep=keep
            ).logits
    finally:
        for hook in hooks:
            hook.remove()
    return logits[0].float().log_softmax(-1).numpy()


def skeleton(folder: Path) -> Any:
    """The model in float32 without weights; buffers, which are computed, are there."""
    import torch
    from torch.nn.modules.module import register_module_parameter_registration_hook
    from transformers import AutoConfig, AutoModelForCausalLM

    def without(module: Any, name: str, parameter: Any) -> Any:
        if parameter is None or parameter.is_meta:
            return None
        return torch.nn.Parameter(parameter.to("meta"), requires_grad=False)

    # Their types are unknown to a checker.
    configs: Any = AutoConfig
    models: Any = AutoModelForCausalLM
    config = configs.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    handle = register_module_parameter_registration_hook(without)
    try:
        model = models.from_config(config, dtype=torch.float32, trust_remote_code=False)
    finally:
        handle.remove()
    return model.eval()


def _filler(read: Read, path: str, names: Sequence[str]) -> Any:
    import torch

    def fill(module: Any, inputs: Any) -> None:
        for name in names:
            values = torch.from_numpy(read(f"{path}.{name}"))
            setattr(module, name, torch.nn.Parameter(values, requires_grad=False))

    return fill


def _emptier(names: Sequence[str]) -> Any:
    import torch

    def empty(module: Any, inputs: Any, output: Any) -> None:
        for name in names:
            nothing = getattr(module, name).to("meta")
            setattr(module, name, torch.nn.Parameter(nothing, requires_grad=False))

    return empty
