"""Base models: which there are, what they need, and whether this machine has it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from phoundry.compute import machine
from phoundry.errors import InvalidInput
from phoundry.models import catalog, describe, hub_facts
from phoundry.models.catalog.sizes import BF16_BYTES, Q8_0_BYTES
from phoundry.services import bases, serving_memory
from phoundry.services.context import Context
from phoundry.services.defaults import CONTEXT
from phoundry.settings import Settings
from phoundry.specs.catalog import CatalogModel, Fits, Need, Needs
from phoundry.specs.finetune import FineTuneParameters, resolve
from phoundry.training.machine import machine_recommendation
from phoundry.training.planning.estimate import QLORA_BITS, ModelShape, estimate_memory

_TO_SPARE = 0.9  # of what is free; a machine filled to the brim swaps
_QLORA = "needs a GPU extra, which is not here yet"


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine has, in bytes; `limit` is what the user lets Phoundry plan with."""

    memory_free: int
    memory: int
    disk_free: int

    @classmethod
    def look(cls, context: Context) -> Machine:
        total, limit = int(psutil.virtual_memory().total), Settings().memory_limit
        folder = context.home.root
        return cls(
            machine.available_memory(),
            total if limit is None else min(total, limit),
            shutil.disk_usage(folder if folder.exists() else folder.parent).free,
        )


def listing(context: Context, words: str | None = None) -> list[CatalogModel]:
    """The models of the catalog that have every word of `words` in name, family or licence."""
    with context.begin("models/read"):
        here = Machine.look(context)
        entries = catalog.search(words) if words else catalog.CATALOG
        return [_judged(describe.of_entry(entry), here) for entry in entries]


def show(
    context: Context,
    name: str,
    *,
    max_seq_length: int | None = None,
    context_length: int | None = None,
) -> CatalogModel:
    """A base model: of the catalog, of a hub, in a folder or in a GGUF file.

    Args:
        max_seq_length: tokens of a row that training is estimated for.
        context_length: tokens of a conversation that serving is estimated for.

    Raises:
        NotFound: the name stands for nothing; with the nearest ones.
        InvalidInput: a length below 1 or above what the model takes; a damaged file.
        Unavailable: the hub cannot be reached.
    """
    with context.begin("models/read") as session:
        source = bases.source(session, context, name)
    if source.entry is not None:
        described = describe.of_entry(source.entry)
    elif source.kind == "hub":
        described = hub_facts.look(source.location, context.home.cache)
    else:
        described = describe.of_local(source)
    longest = described.view.context_length
    for option, value in (("max_seq_length", max_seq_length), ("context_length", context_length)):
        if value is not None and not 0 < value <= (longest or value):
            raise InvalidInput(
                f"{option} is {value}; {described.view.name} takes from 1 to {longest:,} tokens.",
                remedy="Name a length in this range.",
            )
    return _judged(described, Machine.look(context), max_seq_length, context_length)


def _judged(
    described: describe.Described,
    here: Machine,
    max_seq_length: int | None = None,
    context_length: int | None = None,
) -> CatalogModel:
    """The view with `needs`, where the model's sizes are known."""
    view = described.view
    if described.config is not None:
        try:
            view.needs = needs(described.config, view, here, max_seq_length, context_length)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            view.usable = False
            view.obstacle = view.obstacle or f"Its config.json has no usable {error}."
    return view


def needs(
    config: Mapping[str, Any],
    view: CatalogModel,
    here: Machine,
    max_seq_length: int | None = None,
    context_length: int | None = None,
) -> Needs:
    """What training and serving the model take, compared with this machine.

    Training: `training.estimate`, with the parameters that would be used by default, rows of
    `max_seq_length` tokens (default: a pack). Serving in Q8_0: 34/32 bytes a weight, a cache for
    each of the conversations that are decoded together, the process. In bfloat16: 2 bytes a weight
    and one conversation, which is what the engine transformers decodes at a time. Disk: the
    download where it is not the checkpoint itself, the checkpoint, a tuned copy, its GGUF.
    """
    shape = ModelShape.from_config(config)
    base, _ = resolve({}, model=view.recommended, machine=machine_recommendation())
    row = max_seq_length or min(base.pack_length, view.context_length or base.pack_length)
    row *= base.per_device_train_batch_size
    context = context_length or min(CONTEXT, view.context_length or CONTEXT)

    def training(bits: float | None = None, **changes: Any) -> int:
        parameters = FineTuneParameters.model_validate({**base.model_dump(), **changes})
        return estimate_memory(shape, parameters, row_tokens=row, base_bits=bits)

    q8_0, bf16 = round(view.parameters * Q8_0_BYTES), view.parameters * BF16_BYTES
    fetched = view.download_bytes or 0 if view.source.startswith("package:") else 0
    slots = serving_memory.usual_slots(config, context)
    together = f"{slots} conversations of {context:,} tokens"
    qlora = training(QLORA_BITS, apply_lora=True, precision="16")

    def memory(size: int, note: str = "") -> Need:
        return judge(size, here.memory_free, here.memory, note)

    return Needs(
        train_full=memory(training(apply_lora=False)),
        train_lora=memory(training(apply_lora=True)),
        train_qlora=memory(qlora, _QLORA),
        serve_q8_0=memory(
            serving_memory.llama_cpp(config, q8_0, context, slots), f"llama.cpp, {together}"
        ),
        serve_bf16=memory(
            serving_memory.transformers(config, bf16, context),
            f"transformers, one conversation of {context:,}",
        ),
        disk=judge(
            fetched + 2 * bf16 + q8_0,
            here.disk_free,
            here.disk_free,
            "checkpoint, tuned copy, its GGUF",
        ),
        max_seq_length=row,
        context_length=context,
        conversations=slots,
        precision=base.precision,
    )


def judge(size: int, free: int, total: int, note: str = "") -> Need:
    """Whether `size` bytes fit: what is missing is beyond `total` (no) or beyond what is free."""
    if size > total:
        fits: Fits = "no"
        missing = size - total
    elif size > _TO_SPARE * free:
        fits, missing = "tight", max(0, size - free)
    else:
        fits, missing = "yes", 0
    return Need(bytes=size, fits=fits, missing_bytes=missing, note=note)
