"""OpenVINO GenAI's continuous batching with a GGUF: how it is opened, for whoever asks it."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from phoundry.errors import MissingDependency, ModelError
from phoundry.serving.engines.base import EngineSpec

_BLOCK = 32  # tokens of a block of its cache, on a processor


def _library() -> Any:
    """openvino_genai, a compiled module without types we could use.

    OpenVINO's tools count their uses on a server of Google's through a package of its own; where
    that cannot be imported they count nothing.
    """
    sys.modules["openvino_telemetry"] = None  # pyright: ignore[reportArgumentType]
    try:
        return importlib.import_module("openvino_genai")
    except ModuleNotFoundError:
        raise MissingDependency.extra("openvino-genai", "openvino", "The engine openvino") from None  # noqa: S610


def open_pipeline(spec: EngineSpec) -> tuple[Any, Any]:
    """openvino_genai, and its continuous batching with the GGUF of `spec`.

    Raises:
        MissingDependency: the extra is not installed.
        ModelError: OpenVINO cannot read the file.
    """
    library = _library()
    scheduler = library.SchedulerConfig()
    scheduler.max_num_seqs = spec.slots
    scheduler.num_kv_blocks = spec.slots * (-(-spec.context_length // _BLOCK) + 1)
    scheduler.enable_prefix_caching = False
    properties = {"INFERENCE_NUM_THREADS": spec.threads}
    path = str(spec.gguf_path)
    try:
        return library, library.ContinuousBatchingPipeline(path, scheduler, "CPU", properties)
    except RuntimeError as error:
        raise ModelError(
            f"OpenVINO cannot load {path}: {error}",
            remedy="Llama and Qwen are what it reads; --engine llama.cpp serves every model.",
        ) from None
