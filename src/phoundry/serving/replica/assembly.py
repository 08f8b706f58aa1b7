"""From the spec of a replica to its application, whichever process it runs in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phoundry.data import ChatMessage, ChatTokenizer
from phoundry.serving.engines.base import Engine, EngineSpec, SamplingParams
from phoundry.serving.replica.app import ReplicaApp
from phoundry.serving.replica.collector import Collecting
from phoundry.serving.replica.defaults import check, live_defaults
from phoundry.serving.replica.generation import Ask, Generator
from phoundry.serving.replica.live import Live
from phoundry.serving.replica.model import ServedModel
from phoundry.specs.deployment import GenerationDefaults
from phoundry.version import __version__

GRACE_SECONDS = 30
# What an answer of one seed depends on beside the request.
_ANSWERING = (
    "engine",
    "gguf_path",
    "adapter_path",
    "checkpoint_dir",
    "sha256",
    "context_length",
    "slots",
    "threads",
)


def engine_spec(spec: dict[str, Any], end_token_ids: frozenset[int]) -> EngineSpec:
    """The keys of a worker's spec that say what is loaded (see `replica/__main__.py`)."""
    return EngineSpec(
        context_length=int(spec["context_length"]),
        slots=int(spec["slots"]),
        threads=int(spec["threads"]),
        end_token_ids=end_token_ids,
        gguf_path=_path(spec, "gguf_path"),
        checkpoint_dir=_path(spec, "checkpoint_dir"),
        weights=tuple(spec.get("weights") or ()),
        sha256=spec.get("sha256"),
        tokenizer_dir=_path(spec, "tokenizer_dir"),
        options=spec.get("options") or {},
    )


@dataclass(frozen=True, slots=True)
class Replica:
    """What serves one deployment: `application` is what a server is given."""

    app: ReplicaApp
    application: Collecting
    generator: Generator
    grace_seconds: int

    async def warm_up(self) -> None:
        """One token through the whole path, the first of which pays for pages and graphs; ready
        from then on."""
        ask = Ask(_HELLO, SamplingParams(max_tokens=0), max_tokens=1)
        await self.generator.prepare(ask).whole()
        self.app.ready = True

    async def close(self) -> None:
        """After the last request."""
        self.application.close()
        await self.generator.engine.close()


_HELLO = [ChatMessage(role="user", content="Hi")]


def checked_defaults(
    spec: dict[str, Any], run_dir: Path, tokenizer: ChatTokenizer
) -> Live[GenerationDefaults]:
    """The deployment's defaults, once they are known to fit the model.

    Raises:
        InvalidInput: a short question cannot be asked under them.
    """
    defaults = live_defaults(run_dir / "spec.json")
    check(defaults(), tokenizer, int(spec["context_length"]))
    return defaults


def assemble(
    spec: dict[str, Any],
    run_dir: Path,
    engine: Engine,
    tokenizer: ChatTokenizer,
    defaults: Live[GenerationDefaults],
) -> Replica:
    """The application of the replica of `run_dir`; nothing is generated yet."""
    generator = Generator(engine, tokenizer)
    model = ServedModel(generator, spec["model_name"], defaults, _fingerprint(spec))
    app = ReplicaApp(model, token=spec["token"])
    grace = int(spec.get("grace_seconds") or GRACE_SECONDS)
    return Replica(app, Collecting.of(app, spec, run_dir), generator, grace)


def _fingerprint(spec: dict[str, Any]) -> str:
    """OpenAI's system_fingerprint."""
    known = [__version__, *(str(spec.get(name)) for name in _ANSWERING)]
    return "fp_" + hashlib.sha256("\n".join(known).encode()).hexdigest()[:10]


def _path(spec: dict[str, Any], key: str) -> Path | None:
    value = spec.get(key)
    return Path(value) if value else None
