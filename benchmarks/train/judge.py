"""Held-out loss by plain transformers and PEFT, the same code for every contestant.

    python -m benchmarks.train.judge CHECKPOINT HELD_OUT_JSON OUT_JSON ADAPTER…

The loss is the sum over supervised tokens ÷ their number, in nats: each conversation on its own, no
packing, no padding, logits in float32.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def held_out_loss(model: Any, rows: list[dict[str, list[int]]]) -> float:
    """Mean loss of the supervised tokens of `rows` (`ids`, `supervised`)."""
    import torch
    from torch.nn import functional

    training, total, count = model.training, 0.0, 0
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row["ids"]], device=device)
            wanted = torch.tensor(row["supervised"][1:], dtype=torch.bool, device=device)
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1][wanted].float()
            targets = ids[0, 1:][wanted]
            total += float(functional.cross_entropy(logits, targets, reduction="sum"))
            count += len(targets)
    model.train(training)
    return total / count


def losses(checkpoint: Path, held_out: Path, adapters: list[Path]) -> dict[str, float]:
    """The base's loss under `base` and each adapter's under its path, in float32."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    rows = json.loads(held_out.read_text())
    base = AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float32, local_files_only=True
    )
    found = {"base": held_out_loss(base, rows)}
    for adapter in adapters:
        model = PeftModel.from_pretrained(base, str(adapter))
        found[str(adapter)] = held_out_loss(model, rows)
        base = model.unload()
    return found


if __name__ == "__main__":
    checkpoint, held_out, out, *adapters = map(Path, sys.argv[1:])
    out.write_text(json.dumps(losses(checkpoint, held_out, adapters)))
