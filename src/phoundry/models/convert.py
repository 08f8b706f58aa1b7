"""Worker: a Hugging Face folder becomes a GGUF file that llama.cpp serves.

    python -m phoundry.models.convert RUN_DIR

spec.json is `{checkpoint_dir, gguf_path, quantization, sha256?}` (what the weights had when they
were fetched or registered: others are refused); result.json tells `{gguf_path, sha256,
quantization, bytes, notices, check, source}`. One tensor is in memory at a time. The file appears
at its place after `convert_check` has found that llama.cpp computes the model with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.errors import MissingDependency
from phoundry.files import sha256_file
from phoundry.models.architectures import architecture
from phoundry.models.checkpoints import read_config
from phoundry.models.gguf_metadata import add_shape
from phoundry.models.gguf_record import keep, new_file, reusable, source_of
from phoundry.models.gguf_tensors import Tensor, plan
from phoundry.models.gguf_vocab import add_tokenizer, check_tokenizer
from phoundry.models.quantize import FILE_TYPES, kind_for, quantize
from phoundry.models.tensors import Weights
from phoundry.specs.quantization import DEFAULT, quantization_named
from phoundry.spool import Spool
from phoundry.worker import main

if TYPE_CHECKING:
    from gguf import GGUFWriter


_PHI3_TOKENS = ("<unk>", "<s>", "<|endoftext|>")


def convert(
    checkpoint_dir: Path,
    gguf_path: Path,
    quantization: str = DEFAULT,
    name: str | None = None,
    *,
    check: Callable[[Path], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Write the checkpoint as `gguf_path`; matrices as `quantization`, vectors as float32.

    `check` is given the finished file before it takes its place. It raises, or adds to the result;
    its `notices` join ours.

    Returns `{gguf_path, sha256, quantization, bytes, notices}`.

    Raises:
        InvalidInput: an unknown quantisation, an architecture, tokenizer or tensor that cannot be
            converted, or a tensor that is missing.
    """
    from gguf import GGUFWriter

    kept = quantization_named(quantization)
    config = read_config(checkpoint_dir)
    kind = architecture(config["model_type"])
    tensors = plan(Weights(checkpoint_dir), kind, config)
    with new_file(gguf_path) as temporary:
        writer = GGUFWriter(temporary, kind.gguf)
        try:
            writer.add_name(_safe_name(name or checkpoint_dir.name, checkpoint_dir))
            writer.add_file_type(FILE_TYPES[kept])
            writer.add_quantization_version(2)
            notices = add_shape(writer, config, kind)
            notices += add_tokenizer(writer, checkpoint_dir, config)
            _write(writer, tensors, kept)
        finally:
            writer.close()
        checked = check(temporary) if check else {}
        digest = sha256_file(temporary)
    return {
        "gguf_path": str(gguf_path),
        "sha256": digest,
        "quantization": kept,
        "bytes": gguf_path.stat().st_size,
        **checked,
        "notices": [*notices, *checked.get("notices", [])],
    }


def check_convertible(checkpoint_dir: Path) -> None:
    """Raise InvalidInput if the checkpoint lacks tensors, or has others, or more tokens than rows.

    Nothing is read but headers, and nothing is written.
    """
    config = read_config(checkpoint_dir)
    plan(Weights(checkpoint_dir), architecture(config["model_type"]), config)
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


def _write(writer: GGUFWriter, tensors: list[Tensor], quantization: str) -> None:
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


def task(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """The worker's task (see `phoundry.worker`)."""
    # Before torch and llama.cpp load OpenMP: threads that spin while they wait cost minutes on a
    # busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    folder, path = Path(spec["checkpoint_dir"]), Path(spec["gguf_path"])
    quantization = quantization_named(str(spec.get("quantization") or DEFAULT))

    def say(message: str) -> None:
        spool.append("progress", message=message)

    say("Checking the weights.")
    source = source_of(folder, spec.get("sha256"))
    if known := reusable(path, source, quantization):
        return known
    say(f"Converting to GGUF {quantization}.")
    result = convert(folder, path, quantization, check=_checker(folder, quantization, say))
    for notice in result["notices"]:
        spool.append("notice", message=notice)
    return keep(path, {**result, "source": source})


def _checker(
    folder: Path, quantization: str, say: Callable[[str], None]
) -> Callable[[Path], dict[str, Any]]:
    def check(gguf: Path) -> dict[str, Any]:
        # Imports torch and llama.cpp, which writing the file does not need.
        from phoundry.models.convert_check import check_conversion

        try:
            found = check_conversion(folder, gguf, quantization, say)
        except MissingDependency as error:
            return {"notices": [f"The file was not compared with the model: {error}"]}
        return {"check": found.to_dict(), "notices": found.notices(quantization)}

    return check


if __name__ == "__main__":
    main(task, lean=True)
