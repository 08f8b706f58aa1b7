"""LoRA on PEFT's modules, with a forward and backward pass made for this job.

PEFT owns the format, the names and the files; an adapter made here loads in plain PEFT and the
other way round. Only the arithmetic of a linear layer is ours, put in through PEFT's own door for
custom modules. Stock PEFT makes three more tensors of the layer's size (Bᵀ's product, its scaling,
the sum) forward and as many backward; here the product is added in place.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import Linear
from torch import Tensor, nn

from phoundry.specs.finetune import FineTuneParameters


def add_adapters(model: nn.Module, parameters: FineTuneParameters, base: str) -> PeftModel:
    """`model` with a fresh adapter on every linear layer but the vocabulary projection.

    "All linear layers" is right for Llama's separate and Phi-3's fused projections alike. A is
    drawn from torch's generator (seed it first), B is 0. Adapters have the model's dtype.

    Args:
        base: what adapter_config.json names as the base model.
    """
    config = LoraConfig(
        r=parameters.lora_r,
        lora_alpha=parameters.lora_alpha,
        lora_dropout=parameters.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
    )
    config._register_custom_module({nn.Linear: LoraLinear})  # type: ignore[reportPrivateUsage]
    adapted = get_peft_model(cast(Any, model), config, autocast_adapter_dtype=False)
    adapted.peft_config["default"].base_model_name_or_path = base
    return cast(PeftModel, adapted)


class LoraLinear(Linear):
    """PEFT's LoRA layer; in training without dropout, one fused step for base and adapter."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        dropout = self.lora_dropout["default"]
        plain = isinstance(dropout, nn.Identity) and not self.merged and not self.disable_adapters
        a, b = self.lora_A["default"].weight, self.lora_B["default"].weight
        if not plain or a.dtype != x.dtype:
            return super().forward(x, *args, **kwargs)
        base = cast(nn.Linear, self.get_base_layer())
        scale = float(cast(Any, self.scaling)["default"])
        step = cast(Any, _LoraStep.apply)
        return step(x, base.weight, base.bias, a, b, scale)


class _LoraStep(torch.autograd.Function):
    """y = x·Wᵀ + bias + s·(x·Aᵀ)·Bᵀ with W frozen.

    With g = dy and u = s·g·B: dB = s·gᵀ(x·Aᵀ), dA = uᵀx, dx = g·W + u·A. Shapes: x (…, in),
    W (out, in), A (r, in), B (out, r).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        low = flat @ a.T
        y = flat @ w.T if bias is None else torch.addmm(bias, flat, w.T)
        y.addmm_(low, b.T, alpha=scale)
        ctx.save_for_backward(flat, low, w, a, b)
        ctx.scale = scale
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, low, w, a, b = ctx.saved_tensors
        g = gradients[0].reshape(-1, w.shape[0])
        up = (g @ b).mul_(ctx.scale)
        d_b = (g.T @ low).mul_(ctx.scale)
        d_a = up.T @ x
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = (g @ w).addmm_(up, a).view(*gradients[0].shape[:-1], -1)
        return d_x, None, None, d_a, d_b, None
