"""Engines by name. Each is imported when it is opened: a llama.cpp replica never loads torch."""

from __future__ import annotations

from phoundry.errors import MissingDependency, NotFound
from phoundry.serving.engines.base import Engine, EngineSpec

ENGINES = ("llama.cpp", "openvino", "transformers", "vllm", "fake")


def open_engine(name: str, spec: EngineSpec) -> Engine:
    """Load the model of `spec` into the engine called `name`; takes as long as loading takes.

    Raises:
        NotFound: no such engine.
        MissingDependency: its package is not installed.
        InvalidInput: the spec lacks what this engine loads.
        ModelError: the model cannot be loaded.
    """
    if name == "llama.cpp":
        from phoundry.serving.engines.llamacpp import LlamaCppEngine

        return LlamaCppEngine(spec)
    if name == "openvino":
        from phoundry.serving.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(spec)
    if name == "transformers":
        return _transformers(spec)
    if name == "vllm":
        from phoundry.serving.engines.vllm import VllmEngine

        return VllmEngine(spec)
    if name == "fake":
        from phoundry.serving.engines.fake import FakeEngine

        return FakeEngine(spec)
    raise NotFound.named("engine", name, ENGINES)


def _transformers(spec: EngineSpec) -> Engine:
    try:
        from phoundry.serving.engines.transformers import TransformersEngine
    except ModuleNotFoundError as error:
        raise MissingDependency.extra(str(error.name), "train", "The engine transformers") from None  # noqa: S610
    return TransformersEngine(spec)
