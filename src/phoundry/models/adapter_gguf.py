"""Worker: a LoRA adapter in PEFT's files becomes a GGUF that llama.cpp adds to its base.

    python -m phoundry.models.adapter_gguf RUN_DIR

spec.json is `{adapter_dir, base_checkpoint_dir, gguf_path}`; result.json tells `{gguf_path, sha256,
bytes}`. llama.cpp computes `W x + scale · B (A x)`, merging gives `(W + scale · B A) x`: the
same sum, with a base that is quantised alone. The scale of each layer is multiplied into its B, so
that rank-stabilised adapters and those of several ranks need nothing of llama.cpp; the rows of B
follow the rows of the base's matrix, which for q and k of Llama are in another order there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.errors import InvalidInput
from phoundry.files import sha256_file
from phoundry.models.adapter import Delta, check_whole, read_adapter, read_settings
from phoundry.models.architectures import architecture, permute
from phoundry.models.checkpoints import read_config
from phoundry.models.gguf_record import new_file
from phoundry.models.merge import check_fits
from phoundry.models.tensors import Weights
from phoundry.spool import Spool
from phoundry.worker import main

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Halves = npt.NDArray[np.float16] | npt.NDArray[np.float32]


def convert_adapter(adapter: Path, base: Path, gguf_path: Path) -> dict[str, Any]:
    """Write the adapter as `gguf_path`; returns `{gguf_path, sha256, bytes}`.

    Raises:
        InvalidInput: no plain LoRA, not of this base, or of a layer that llama.cpp has no name for.
        ModelError: the adapter holds values that are not finite.
    """
    from gguf import GGUFType, GGUFWriter

    tensors = adapter_tensors(adapter, base)
    kind = architecture(read_config(base)["model_type"])
    with new_file(gguf_path) as temporary:
        writer = GGUFWriter(temporary, kind.gguf)
        try:
            writer.add_type(GGUFType.ADAPTER)
            writer.add_string("adapter.type", "lora")
            # 0: no `alpha / rank`, which is in B already.
            writer.add_float32("adapter.lora.alpha", 0.0)
            for name, values in tensors.items():
                writer.add_tensor(name, values)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
    size = gguf_path.stat().st_size
    return {"gguf_path": str(gguf_path), "sha256": sha256_file(gguf_path), "bytes": size}


def adapter_tensors(adapter: Path, base: Path) -> dict[str, Halves]:
    """Of each layer `NAME.lora_a`, `(r, in)`, and `NAME.lora_b`, `(out, r)`; NAME is llama.cpp's.

    Raises:
        InvalidInput, ModelError: as `convert_adapter`.
    """
    config, weights = read_config(base), Weights(base)
    kind = architecture(config["model_type"])
    deltas = read_adapter(adapter)
    check_whole(adapter, read_settings(adapter), deltas, weights)
    found: dict[str, Halves] = {}
    for name, delta in deltas.items():
        check_fits(name, delta, weights, base)
        target = kind.gguf_name(name)
        if target is None:
            raise InvalidInput(
                f"The adapter changes '{name}', which llama.cpp's {kind.gguf} has no name for.",
                remedy="Serve it merged: leave `adapter: shared` out of the deployment.",
            )
        down, up = _halves(delta, kind.rotated_heads(name, config))
        found[f"{target}.lora_a"], found[f"{target}.lora_b"] = down, up
    return found


def _halves(delta: Delta, heads: int | None) -> tuple[Halves, Halves]:
    """A and B with the scale, in float16: an eleventh bit more than a base of eight bits has.

    A layer with a value that float16 has not stays float32.
    """
    import numpy as np

    up: Floats = (delta.up * np.float32(delta.scale)).astype(np.float32)
    up = np.ascontiguousarray(permute(up, heads) if heads else up)
    if max(np.abs(up).max(), np.abs(delta.down).max()) > np.finfo(np.float16).max:
        return delta.down, up
    return delta.down.astype(np.float16), up.astype(np.float16)


def task(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """The worker's task (see `phoundry.worker`)."""
    spool.append("progress", message="Converting the adapter to GGUF.")
    places = (Path(spec[key]) for key in ("adapter_dir", "base_checkpoint_dir", "gguf_path"))
    return convert_adapter(*places)


if __name__ == "__main__":
    main(task)
