"""What a run is, as hashes: two runs that agree in all of them end with the same weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from phoundry.errors import Conflict
from phoundry.files import read_json
from phoundry.training.planning.plan import Plan
from phoundry.training.spec import TrainingSpec

# A run may be gone on from with these changed: they don't touch the weights.
HARMLESS = frozenset(
    {
        *("dataloader_num_workers", "logging_steps", "logging_strategy"),
        *("resume_from_checkpoint", "sample_generations", "save_total_limit"),
    }
)
_WORDS = {
    "data": "other training data",
    "validation": "other validation data",
    "model": "another base model",
    "weights": "other weights of the base model",
    "plan": "another plan",
}


def identity(spec: TrainingSpec, plan: Plan) -> dict[str, Any]:
    """SHA-256 of the data as tokens, of the model's config and of the plan; the parameters.

    `weights` is what was recorded when the base model was fetched, where it was: hashing gigabytes
    again at every start would take longer than a short run.
    """
    config = (spec.checkpoint_dir / "config.json").read_bytes()
    source: dict[str, Any] = read_json(spec.checkpoint_dir / "source.json") or {}
    layout = {
        "capacity": plan.capacity,
        "max_steps": plan.max_steps,
        **plan.choices.arithmetic(),
    }
    return {
        "data": plan.samples.fingerprint(),
        "validation": plan.validation.fingerprint() if plan.validation is not None else None,
        "model": hashlib.sha256(config).hexdigest(),
        "weights": source.get("sha256"),
        "plan": hashlib.sha256(json.dumps(layout, sort_keys=True).encode()).hexdigest(),
        "parameters": spec.parameters.model_dump(mode="json", exclude=set(HARMLESS)),
    }


def check_same(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    """Refuse to go on from a run that was another.

    Raises:
        Conflict: with everything that differs.
    """
    before, now = found.get("parameters", {}), wanted["parameters"]
    differences = [
        f"{name} {before.get(name)!r} (now {now.get(name)!r})"
        for name in sorted(now.keys() | before.keys())
        if before.get(name) != now.get(name)
    ]
    differences += [words for name, words in _WORDS.items() if found.get(name) != wanted[name]]
    if differences:
        raise Conflict(
            f"The checkpoints in {where} are of a run with other data, parameters or model: "
            f"{', '.join(differences)}.",
            remedy="Start a new job, or set resume_from_checkpoint=false to begin afresh.",
        )
