"""Batch jobs (`type: batch`): a file of requests in, a file of answers out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from phoundry.compute import machine
from phoundry.errors import Conflict, NotFound
from phoundry.files import atomic_file, read_json
from phoundry.services import bases, data, defaults, deployments, engine_files, uploads
from phoundry.services.batch_memory import slots_for
from phoundry.services.context import Context
from phoundry.services.job_kinds.base import Admitted
from phoundry.services.job_workers import Wording
from phoundry.serving.batch import requests
from phoundry.specs.batch import BatchJobSpec
from phoundry.specs.deployment import Deployment, GenerationDefaults
from phoundry.specs.quantization import served_as
from phoundry.store.tables import JobRow

INPUT = "input.jsonl"  # in the run folder: what is asked stays, whatever becomes of its source


class Batch:
    module = "phoundry.serving.batch"
    doing = "Answering"

    def admit(self, context: Context, spec: BatchJobSpec) -> Admitted:
        """Look at every line, and at the model.

        Raises:
            NotFound: the model, the endpoint or the data.
            InvalidInput: bad lines, all of them; a default answer larger than the context.
            Conflict: an endpoint without a deployment.
        """
        served = _served(context, spec.endpoint) if spec.endpoint else None
        model = served.model if served else str(spec.model)
        chosen = _parameters(spec, served)
        with context.begin("models/read") as session:
            bases.check(session, context, model)
            config = bases.config(session, context, model)
        if config is not None:
            length = defaults.context_length(model, chosen["context_length"], config)
            defaults.check_max_tokens(_defaults(chosen), length)
        pins = {"model": model, "file": None, **_input(context, spec)}
        sources = {
            key: "user" if _given(spec, key) else ("endpoint" if served else "default")
            for key, value in chosen.items()
            if value is not None
        }
        return Admitted(model, pins, chosen, sources, _notices(spec))

    def place(self, context: Context, spec: dict[str, Any], run_dir: Path) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        target = run_dir / INPUT
        if digest := spec.get("input_sha256"):
            _same_bytes(context.blobs.path(digest), target)
            return
        asset = data.show(context, spec["input"])
        with atomic_file(target, mode=0o600) as file:
            for line in data.lines(context, asset, spec["split"]):
                file.write(line)

    def revive(self, session: Session, context: Context, row: JobRow) -> None:
        if not (Path(row.run_dir) / INPUT).exists():
            raise NotFound(
                f"The requests of job '{row.name}' are gone from {row.run_dir}.",
                remedy="Create the job again from its file.",
            )
        bases.retry(session, context, row.spec["model"])

    def worker_spec(self, session: Session, context: Context, row: JobRow) -> dict[str, Any] | None:
        chosen, model = row.parameters, row.spec["model"]
        checkpoint = bases.checkpoint(session, context, model)
        if checkpoint is None:
            return None
        engine = chosen["engine"]
        files = engine_files.ready(session, context, engine, chosen["quantization"], checkpoint)
        if files is None:
            return None
        config: dict[str, Any] = read_json(checkpoint / "config.json") or {}
        length = defaults.context_length(model, row.spec["context_length"], config)
        asked: int | None = row.spec["slots"]
        slots = slots_for(model, engine, config, files, length, row.spec["lines"], asked)
        row.parameters = {**chosen, "context_length": length, "slots": slots}
        row.sources = {"context_length": "default", "slots": "machine", **row.sources}
        return {
            "engine": engine,
            **files,
            "tokenizer_dir": str(checkpoint),
            "model_name": model,
            "context_length": length,
            "slots": slots,
            "threads": machine.cores(),
            "defaults": _defaults(chosen).model_dump(mode="json"),
            "input_path": str(Path(row.run_dir) / INPUT),
            "input_name": row.spec["input_name"],
            "lines": row.spec["lines"],
        }

    def words(self, context: Context, row: JobRow) -> Wording:
        told: dict[str, Any] = read_json(Path(row.run_dir) / "spec.json") or {}
        names = {"tokenizer_dir": row.spec["model"], "input_path": row.spec["input_name"]}
        found = tuple((str(told[key]), str(name)) for key, name in names.items() if told.get(key))
        return Wording(found, "", "", (0, 0))

    def place_reached(self, row: JobRow) -> str:
        return f"line {row.progress.get('step', 0)}"

    def goes_on(self, row: JobRow) -> str:
        done = int(row.progress.get("step", 0))
        return f"goes on from line {done + 1}" if done else "begins with the first line"

    def cancelled(self, row: JobRow) -> list[str]:
        done, lines = int(row.progress.get("step", 0)), row.spec["lines"]
        if not done:
            return []
        return [
            f"Cancelled after {done:,} of {lines:,} lines; their answers are kept: "
            f"`phoundry job download {row.name}`."
        ]


def _served(context: Context, reference: str) -> Deployment:
    """The deployment that `ENDPOINT/DEPLOYMENT` names, or the one with most of the traffic."""
    endpoint, _, name = reference.partition("/")
    if name:
        return deployments.show(context, endpoint, name)
    found = deployments.listing(context, endpoint)
    if not found:
        raise Conflict(
            f"Endpoint '{endpoint}' has no deployment, so it has no model.",
            remedy=f"Deploy one, or name a model with --model instead of --endpoint {endpoint}.",
        )
    return max(found, key=lambda each: each.traffic)


def _parameters(spec: BatchJobSpec, served: Deployment | None) -> dict[str, Any]:
    """What the job runs under: its own word, else the endpoint's, else ours."""
    engine = spec.engine or (served.engine if served else "llama.cpp")
    kept = served.quantization if served and served.engine == engine else None
    own = spec.parameters.model_dump(mode="json", exclude_unset=True)
    inherited = served.defaults.model_dump(mode="json") if served else {}
    merged = GenerationDefaults.model_validate(inherited | own).model_dump(mode="json")
    length = spec.context_length or (served.context_length if served else None)
    return {
        "engine": engine,
        "quantization": served_as(engine, spec.quantization or kept),
        "context_length": length,
        "slots": spec.slots,
        **merged,
    }


def _given(spec: BatchJobSpec, key: str) -> bool:
    own = spec.parameters.model_fields_set if key in GenerationDefaults.model_fields else None
    return key in (spec.model_fields_set if own is None else own)


def _defaults(chosen: dict[str, Any]) -> GenerationDefaults:
    known = {key: chosen[key] for key in GenerationDefaults.model_fields if key in chosen}
    return GenerationDefaults.model_validate(known)


def _input(context: Context, spec: BatchJobSpec) -> dict[str, Any]:
    """What is asked, checked line by line: where it is, what it is called, how much it is."""
    if spec.file is not None:
        name = Path(spec.file.filename).name
        with uploads.taken_up(context, [spec.file]) as (_, (path,)):
            lines = requests.check(path, name, skip_bad=spec.skip_bad)
            digest = context.blobs.put_file(path)
        return {"input_sha256": digest, "input_name": name, "lines": lines}
    try:
        asset = data.show(context, spec.input)
    except NotFound as error:
        raise NotFound(
            f"The input '{spec.input}' is neither a file that was handed over nor a data asset.",
            remedy=error.remedy or "`phoundry data list` shows what there is.",
        ) from None
    reference = f"{asset.name}:{asset.version}"
    lines = sum(part.rows for part in _splits(asset, spec.split))
    if not lines:
        raise Conflict(
            f"The data asset '{reference}' has no {spec.split} rows.",
            remedy="Choose another split: train, test or all.",
        )
    return {"input": reference, "input_name": reference, "lines": lines}


def _splits(asset: Any, split: str) -> Iterator[Any]:
    if split in ("train", "all"):
        yield asset.train
    if split in ("test", "all") and asset.test is not None:
        yield asset.test


def _same_bytes(source: Path, target: Path) -> None:
    """A second name of the blob, or a copy where the disk has no such thing."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _notices(spec: BatchJobSpec) -> list[str]:
    if not spec.compute:
        return []
    return [f"compute '{spec.compute}' is recorded; the job runs on this machine."]
