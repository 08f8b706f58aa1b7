"""A lean process computes the same with less, and the compiler comes when it is asked for."""

from __future__ import annotations

import importlib.util
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from phoundry import lean, worker

# A step of a tiny model, with all that a worker marks for the compiler: an optimizer, layers that
# are computed again, masks, a generated answer.
WORK = """
import torch
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForCausalLM, LlamaConfig

def work():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)
    model = AutoModelForCausalLM.from_config(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    ids = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 2, 8, 0, 0]])
    seen = (ids > 0).long()
    losses = []
    for _ in range(3):
        loss = model(input_ids=ids, attention_mask=seen, labels=ids).loss
        loss = checkpoint(lambda each: each * each, loss, use_reentrant=False)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        said = model.generate(ids[:1], max_new_tokens=4, do_sample=False, pad_token_id=0)
    return losses, said.tolist()
"""
LEAN = f"""
import json, sys
from phoundry.lean import begin
begin()
begin()
{WORK}
done = work()
heavy = ["torch._dynamo.eval_frame", "torch._inductor", "torch.distributed.tensor", "sympy",
         "scipy", "sklearn", "pandas", "mlflow"]
found = [name for name in heavy if name in sys.modules]
kept = sys.modules["torch._dynamo"]
from torch._dynamo.decorators import leaf_function  # refuses to run twice
compiled = torch.compile(lambda x: x.sin() + 1, backend="eager")(torch.zeros(2)).tolist()
same = kept is sys.modules["torch._dynamo"] and "torch._dynamo.eval_frame" in sys.modules
same = same and sys.modules["torch._dynamo.decorators"].__spec__.origin.endswith("decorators.py")
json.dump([*done, found, compiled, same], sys.stdout)
"""


def test_a_lean_process_computes_the_same_with_less() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAN], capture_output=True, text=True, timeout=300, check=True
    )
    losses, said, found, compiled, same = json.loads(done.stdout.splitlines()[-1])
    space: dict[str, object] = {}
    exec(WORK, space)  # the same text, in a process with everything
    assert [losses, said] == list(space["work"]())  # type: ignore[operator]
    assert found == []
    assert (compiled, same) == ([1.0, 1.0], True)


@pytest.mark.parametrize("module", ["torch._dynamo", "transformers.utils.import_utils"])
def test_what_is_left_out_is_still_where_these_versions_have_it(module: str) -> None:
    """Another version that moved it would be imported in full, which nobody would see."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent.joinpath(*module.split(".")[1:])
    file = root / "__init__.py" if root.is_dir() else root.with_suffix(".py")
    text = file.read_text()
    names = ("is_torch_distributed_available", "is_torch_flex_attn_available")
    assert module == "torch._dynamo" or all(f"def {name}(" in text for name in names)
    assert module in lean.LOADERS


def test_nobody_elses_import_is_touched() -> None:
    assert lean.Finder().find_spec("json", None) is None
    assert lean.Finder().find_spec("torch.nn", None) is None


WORKERS = {
    "phoundry.training": (),
    "phoundry.training.planner": (),
    "phoundry.models.convert": (),
    "phoundry.models.curves": ("numpy", "pandas", "pyarrow", "scipy"),
    "phoundry.serving.parity": (),
}


@pytest.mark.filterwarnings("ignore:.*found in sys.modules.*:RuntimeWarning")
@pytest.mark.parametrize(("module", "absent"), WORKERS.items())
def test_a_worker_that_compiles_nothing_is_lean(
    module: str, absent: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[Any, ...]] = []

    def begin(*names: str) -> None:
        begun.append(names)

    def main(task: object, *, lean: bool = False) -> None:
        begun.append((lean,))

    monkeypatch.setattr(lean, "begin", begin)
    monkeypatch.setattr(worker, "main", main)
    monkeypatch.setattr(sys, "argv", ["worker"])
    runpy.run_module(module, run_name="__main__")
    assert begun == [*([absent] if absent else []), (True,)]
