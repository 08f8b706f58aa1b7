"""Worker: a Hugging Face folder becomes a GGUF file that llama.cpp serves.

    python -m phoundry.models.convert RUN_DIR

spec.json is `{checkpoint_dir, gguf_path, quantization, sha256?}` (what the weights had when they
were fetched or registered: others are refused); result.json tells `{gguf_path, sha256,
quantization, bytes, notices}`. One tensor is in memory at a time; torch is not needed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.errors import InvalidInput
from phoundry.files import remove_orphans, sha256_file, sync_file, sync_folder
from phoundry.models.architectures import Architecture, architecture, permute
from phoundry.models.checkpoints import read_config, unchanged
from phoundry.models.gguf_metadata import add_shape, rope_tensors
from phoundry.models.gguf_vocab import add_tokenizer, check_tokenizer
from phoundry.models.quantize import FILE_TYPES, kind_for, quantization_named, quantize
from phoundry.models.tensors import Weights
from phoundry.spool import Spool
from phoundry.worker import main

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from gguf import GGUFWriter

    Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str  # llama.cpp's
    shape: tuple[int, ...]
    make: Callable[[], Floats]


_PHI3_TOKENS = ("<unk>", "<s>", "<|endoftext|>")


def convert(
    checkpoint_dir: Path, gguf_path: Path, quantization: str = "Q8_0", name: str | None = None
) -> dict[str, Any]:
    """Write the checkpoint as `gguf_path`; matrices as `quantization`, vectors as float32.

    Returns `{gguf_path, sha256, quantization, bytes, notices}`.

    Raises:
        InvalidInput: an unknown quantisation, an architecture, tokenizer or tensor that cannot be
            converted, or a tensor that is missing.
    """
    from gguf import GGUFWriter

    quantization = quantization_named(quantization)
    config = read_config(checkpoint_dir)
    kind = architecture(config["model_type"])
    tensors = _plan(Weights(checkpoint_dir), kind, config)
    with _atomic_file(gguf_path) as temporary:
        writer = GGUFWriter(temporary, kind.gguf)
        try:
            writer.add_name(_safe_name(name or checkpoint_dir.name, checkpoint_dir))
            writer.add_file_type(FILE_TYPES[quantization])
            writer.add_quantization_version(2)
            notices = add_shape(writer, config, kind)
            notices += add_tokenizer(writer, checkpoint_dir, config)
            _write(writer, tensors, quantization)
        finally:
            writer.close()
    return {
        "gguf_path": str(gguf_path),
        "sha256": sha256_file(gguf_path),
        "quantization": quantization,
        "bytes": gguf_path.stat().st_size,
        "notices": notices,
    }


def check_convertible(checkpoint_dir: Path) -> None:
    """Raise InvalidInput if the checkpoint lacks tensors, or has others, or more tokens than rows.

    Nothing is read but headers, and nothing is written.
    """
    config = read_config(checkpoint_dir)
    _plan(Weights(checkpoint_dir), architecture(config["model_type"]), config)
    check_tokenizer(checkpoint_dir, config)


def _safe_name(name: str, checkpoint_dir: Path) -> str:
    """`name`, unless llama.cpp would misread it.

    It takes any model called something with "phi3" for a Phi-3, looks up that model's tokens, and
    fails to load one without them, such as a SmolLM2 that its user calls "better-than-phi3".
    """
    if "phi3" not in name.lower().replace("-", "").replace("_", ""):
        return name
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(checkpoint_dir / "tokenizer.json"))
    known = all(tokenizer.token_to_id(token) is not None for token in _PHI3_TOKENS)
    return name if known else "model"


def _plan(weights: Weights, kind: Architecture, config: dict[str, Any]) -> list[_Tensor]:
    """Every tensor under llama.cpp's name, the rotary factors first."""
    tensors = [
        _Tensor(name, factors.shape, lambda factors=factors: factors)
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
        tensors.append(_Tensor(target, weights.info(name).shape, make))
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


def _write(writer: GGUFWriter, tensors: list[_Tensor], quantization: str) -> None:
    """Header first, then each tensor: made, quantised, written, forgotten."""
    import numpy as np
    from gguf.quants import quant_shape_to_byte_shape

    names = {tensor.name for tensor in tensors}
    logits = "output.weight" if "output.weight" in names else "token_embd.weight"
    kinds = {
        tensor.name: kind_for(tensor.shape, quantization, logits=tensor.name == logits)
        for tensor in tensors
    }
    for tensor in tensors:
        shape = quant_shape_to_byte_shape(tensor.shape, kinds[tensor.name])
        size = int(np.prod(shape))
        writer.add_tensor_info(tensor.name, shape, np.dtype(np.uint8), size, kinds[tensor.name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in tensors:
        writer.write_tensor_data(quantize(tensor.name, tensor.make(), kinds[tensor.name]))


@contextmanager
def _atomic_file(path: Path) -> Generator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_orphans(path)  # what a killed conversion left: gigabytes
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        sync_file(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def task(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """The worker's task (see `phoundry.worker`)."""
    quantization = str(spec.get("quantization") or "Q8_0")
    spool.append("progress", message="Checking the weights.")
    unchanged(Path(spec["checkpoint_dir"]), spec.get("sha256"))
    spool.append("progress", message=f"Converting to GGUF {quantization}.")
    result = convert(Path(spec["checkpoint_dir"]), Path(spec["gguf_path"]), quantization)
    for notice in result["notices"]:
        spool.append("notice", message=notice)
    return result


if __name__ == "__main__":
    main(task)
