"""`engine: auto`: the engine that was measured fastest for this machine, model file and load.

A measurement is a task and its result (`phoundry.serving.speeds`), known by the processor, its
cores, the model file's content, the context and the engines' versions: where one of these is
another, nothing has been measured. Nothing is measured unless asked for, and then llama.cpp serves.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from phoundry.compute import machine
from phoundry.errors import PhoundryError, from_dict
from phoundry.files import read_json
from phoundry.models import gguf_record
from phoundry.services import bases, defaults, engine_files, serving_memory, tasks
from phoundry.services.context import Context
from phoundry.specs.deployment import AUTO, DeploymentSpec
from phoundry.specs.engine_speeds import EngineSpeed, EngineSpeeds
from phoundry.specs.quantization import DEFAULT, Quantization

USUAL = "llama.cpp"
# Those that serve the same GGUF on a processor, and their packages.
CANDIDATES = {USUAL: "xllamacpp", "openvino": "openvino-genai"}
_LACKS = {"openvino": "likelihoods, JSON schemas, embeddings and penalties"}


def measure(
    context: Context,
    reference: str,
    quantization: Quantization | None = None,
    *,
    again: bool = False,
) -> EngineSpeeds:
    """What is known of a model's speeds; what is not is begun to be measured. Ask until it is.

    Args:
        again: measure anew what was measured.

    Raises:
        NotFound: the reference names nothing.
        PhoundryError: fetching, converting or measuring it has failed; asked once more, it is
            tried again.
    """
    kind = quantization or DEFAULT
    try:
        with context.begin("models/write") as session:
            reference = bases.pinned(session, context, reference)
            bases.check(session, context, reference)
            return _measure(session, context, reference, kind, again=again)
    except PhoundryError:
        with context.begin("models/write") as session:
            bases.retry(session, context, reference)
            tasks.retry(session, context, "speeds/")
        raise


def settled(
    session: Session, context: Context, spec: DeploymentSpec
) -> tuple[DeploymentSpec, list[str]]:
    """`spec` with the engine that `auto` is today, and what its user is told of that."""
    if spec.engine != AUTO:
        return spec, []
    if spec.adapter == "shared":
        return spec.model_copy(update={"engine": USUAL}), []  # no other engine shares
    settings = spec.request_settings.model_dump()
    engine, told = chosen(session, context, spec.model, spec.quantization, settings)
    return spec.model_copy(update={"engine": engine}), [told]


def chosen(
    session: Session,
    context: Context,
    model: str,
    quantization: Quantization | None,
    request_settings: dict[str, Any],
) -> tuple[str, str]:
    """The engine for a deployment that leaves it to us, and a sentence that says why."""
    found = _known(session, context, model, quantization or DEFAULT)
    if found is None or not found.speeds:
        return USUAL, (
            f"engine: auto is {USUAL}, because nothing was measured for this model on this "
            f"machine: `phoundry model benchmark {model}` does, and the next update with "
            "`--engine auto` takes the fastest."
        )
    ranked = found.fastest(int(request_settings["max_concurrent_requests_per_instance"]))
    best, others = ranked[0], ranked[1:]
    than = ", ".join(f"{each.engine} {each.tokens_per_second:g}" for each in others)
    lacks = f" It has no {_LACKS[best.engine]}." if best.engine in _LACKS else ""
    return best.engine, (
        f"engine: auto is {best.engine}: it was measured on this machine with "
        f"{best.tokens_per_second:g} tokens/s over {best.streams} conversations at once"
        f"{f' ({than})' if than else ''}.{lacks}"
    )


def _measure(
    session: Session, context: Context, model: str, kind: Quantization, *, again: bool
) -> EngineSpeeds:
    view = EngineSpeeds(model=model, quantization=kind)
    checkpoint = bases.checkpoint(session, context, model)
    files = checkpoint and engine_files.ready(session, context, USUAL, kind, checkpoint)
    if checkpoint is None or not files:
        view.preparation = bases.preparation(session, context, model)
        return view
    key, spec = _task(checkpoint, Path(files["gguf_path"]), model)
    row = tasks.present(session, context, key)
    if row is not None and row.state == "succeeded" and not again:
        return _told(view, row.result)
    task = tasks.ensure(session, context, key, "phoundry.serving.speeds", spec)
    if task.error:
        raise from_dict(task.error)
    view.preparation = tasks.preparation(session, context, key)
    return view


def _known(
    session: Session, context: Context, model: str, kind: Quantization
) -> EngineSpeeds | None:
    """What was measured; nothing is begun."""
    checkpoint = bases.made(session, context, model)
    gguf = checkpoint and bases.ggufs(context.home, checkpoint)[kind]
    if checkpoint is None or gguf is None or not gguf_record.complete(gguf):
        return None
    row = tasks.present(session, context, _task(checkpoint, gguf, model)[0])
    if row is None or row.state != "succeeded":
        return None
    return _told(EngineSpeeds(model=model, quantization=kind), row.result)


def _task(checkpoint: Path, gguf: Path, model: str) -> tuple[str, dict[str, Any]]:
    """The key of a measurement, and what its worker is told."""
    config: dict[str, Any] = read_json(checkpoint / "config.json") or {}
    length = defaults.context_length(model, None, config)
    slots = serving_memory.usual_slots(config, length)
    spec = {
        "engines": [*CANDIDATES],
        "gguf_path": str(gguf),
        "tokenizer_dir": str(checkpoint),
        "context_length": length,
        "threads": machine.cores(),
        "slots": slots,
        "streams": sorted({1, min(4, slots), slots}),
    }
    record = gguf_record.recorded(gguf) or {}
    content = record.get("sha256") or f"{gguf} {gguf.stat().st_size}"
    versions = [_version(package) for package in CANDIDATES.values()]
    parts = [_processor(), machine.cores(), content, length, slots, *versions]
    return f"speeds/{hashlib.sha256(repr(parts).encode()).hexdigest()[:24]}", spec


def _told(view: EngineSpeeds, result: dict[str, Any]) -> EngineSpeeds:
    speeds = [
        EngineSpeed(engine=engine, streams=int(streams), tokens_per_second=rate)
        for engine, found in result["speeds"].items()
        for streams, rate in found.items()
    ]
    return view.model_copy(update={"speeds": speeds, "left_out": result["left_out"]})


def _processor() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
