"""Is the merged model the one that was trained? The two are run on a few tokens and compared.

The adapted model is the base with `scale · B(A(x))` added to the output of each adapted layer, as
in training. The merged one has a single rounded matrix instead. Rounding to bfloat16 moves a logit
a little; a wrong scale, a wrong base or a shifted layer moves it as far as the training did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.errors import ModelError
from phoundry.models.adapter import Delta, read_adapter
from phoundry.models.merge_sums import check_sums
from phoundry.models.tensors import Weights, weight_files

if TYPE_CHECKING:
    import torch

# The merged model may differ from the adapted one by this share of what training changed …
RELATIVE = 0.25
# … or, where training changed next to nothing, by this much (root mean square, in logits).
ABSOLUTE = 0.1
TOKENS = 16
# Above this many weights the models are run in bfloat16, which takes half the memory.
_FLOAT32_UP_TO = 2_000_000_000


@dataclass(frozen=True, slots=True)
class MergeCheck:
    """Root mean squares over all logits of the tokens tried."""

    changed: float  # base against adapted: what training did
    error: float  # adapted against merged: what merging lost

    @property
    def agrees(self) -> bool:
        return self.error <= max(ABSOLUTE, RELATIVE * self.changed)


def check_merge(base: Path, adapter: Path, merged: Path, *, with_peft: bool = False) -> MergeCheck:
    """Compare adapted and merged logits; one model is in memory at a time.

    `with_peft`: PEFT itself runs the adapter. So an adapter that was made elsewhere is held against
    what its own library makes of it, and not against our reading of its files.

    Raises:
        ModelError: they disagree (see `RELATIVE`, `ABSOLUTE`), or a matrix is not the sum that it
            should be (`merge_sums`).
    """
    import torch
    from transformers import AutoModelForCausalLM

    # So few tokens gain nothing from a second thread, and threads that wait for each other on a
    # busy machine lose seconds.
    torch.set_num_threads(1)
    weights = Weights(base)
    size = sum(weights.info(name).stop - weights.info(name).start for name in weights.names) // 2
    dtype = torch.float32 if size <= _FLOAT32_UP_TO else torch.bfloat16
    model: Any = AutoModelForCausalLM.from_pretrained(
        base, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True
    ).eval()
    rows = model.get_input_embeddings().weight.shape[0]
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(rows, (1, TOKENS), generator=generator)
    with torch.inference_mode():
        plain = model(ids).logits.float()
        adapted = (
            _with_peft(model, adapter, ids)
            if with_peft
            else _with_adapter(model, read_adapter(adapter), ids)
        )
    _load(model, merged)
    with torch.inference_mode():
        result = MergeCheck(_rms(adapted - plain), _rms(adapted - model(ids).logits.float()))
    if not result.agrees:
        raise ModelError(
            f"The merged model does not compute what was trained: its logits differ by "
            f"{result.error:.3f}, and training changed them by {result.changed:.3f}.",
            remedy="Check that the base is the one that the adapter was trained on.",
        )
    check_sums(base, adapter, merged)
    return result


def _with_peft(model: Any, adapter: Path, ids: torch.Tensor) -> torch.Tensor:
    from peft import PeftModel

    adapted: Any = PeftModel.from_pretrained(
        model, str(adapter), autocast_adapter_dtype=False, local_files_only=True
    ).eval()
    logits = adapted(ids).logits.float()
    adapted.unload()  # PEFT changes the layers in place: put the base's back
    return logits


def _with_adapter(model: Any, deltas: Mapping[str, Delta], ids: torch.Tensor) -> torch.Tensor:
    import torch

    def hook(delta: Delta) -> Any:
        down, up = torch.from_numpy(delta.down), torch.from_numpy(delta.up)

        def add(module: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
            low = inputs[0].float() @ down.T
            return output + (delta.scale * (low @ up.T)).to(output.dtype)

        return add

    handles = [
        model.get_submodule(name.removesuffix(".weight")).register_forward_hook(hook(delta))
        for name, delta in deltas.items()
    ]
    try:
        return model(ids).logits.float()
    finally:
        for handle in handles:
            handle.remove()


def _load(model: Any, folder: Path) -> None:
    """Overwrite the model's weights with those in `folder`, in place."""
    import torch
    from safetensors.torch import load_file  # type: ignore[reportUnknownVariableType]

    parameters = dict(model.named_parameters())
    for path in weight_files(folder):
        for name, tensor in load_file(path).items():
            if name in parameters:
                with torch.no_grad():
                    parameters[name].copy_(tensor)


def _rms(difference: torch.Tensor) -> float:
    return float(difference.double().square().mean().sqrt())
