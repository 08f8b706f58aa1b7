"""How models are shown: the two lists, and the sheet of a base model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from phoundry.cli.output import Printer, cell, sheet, table
from phoundry.errors import nearest

if TYPE_CHECKING:
    from pydantic import BaseModel

    from phoundry.client.models import Models
    from phoundry.specs.catalog import CatalogModel, Need, Needs
    from phoundry.specs.model import Model

_BASES: Mapping[str, Callable[[CatalogModel], Any]] = {
    "name": lambda model: model.name,
    "parameters": lambda model: count(model.parameters),
    "context": lambda model: f"{model.context_length:,}",
    "licence": lambda model: model.licence + (" (gated)" if model.gated else ""),
    "download": lambda model: size(model.download_bytes) if model.download_bytes else "-",
    "train": lambda model: _verdict(model, "train_lora"),
    "serve": lambda model: _verdict(model, "serve_q8_0"),
    "source": lambda model: model.source,
}
_VERSIONS: Mapping[str, Callable[[Model], Any]] = {
    "name": lambda model: f"{model.name}:{model.version}",
    "status": lambda model: model.status,
    "base": lambda model: model.base_model,
    "job": lambda model: model.job,
    "uri": lambda model: model.uri,
    "created": lambda model: model.created_at,
}
_USES = {
    "train_full": "training, all weights",
    "train_lora": "training, LoRA",
    "train_qlora": "training, QLoRA",
    "serve_q8_0": "serving, Q8_0",
    "serve_bf16": "serving, bfloat16",
    "disk": "disk",
}


def listed(out: Printer, models: Models, search: str, *, versions: bool, bases: bool) -> None:
    """Print registered versions, base models, or both under titles; one array in JSON and YAML."""
    ours: list[Model] = (
        [each for each in models.list() if _matches(each, search)] if versions else []
    )
    known: Sequence[CatalogModel] = models.catalog(search or None) if bases else []
    if not out.talks:
        both: list[BaseModel] = [*ours, *known]
        out.value([each.model_dump(mode="json") for each in both])
        return
    blocks = [_table(ours, _VERSIONS), _table(known, _BASES)]
    titles = ["Registered", "Catalog"] if versions and bases else ["", ""]
    shown = [
        f"{title}\n{block}" if title else block
        for title, block in zip(titles, blocks, strict=True)
        if block
    ]
    if shown:
        out.value(None, "\n\n".join(shown))
    if versions and not ours and not search:
        out.note("There is no registered model yet: phoundry model register NAME --job JOB")
        if not bases:
            out.note("Base models: phoundry model list --catalog")
    if search and not shown:
        out.note(_nothing(models, search, versions=versions, bases=bases))


def sheet_of(model: CatalogModel) -> str:
    """A base model as `name  value` lines, and its needs as a table."""
    fields = model.model_dump(mode="json", exclude={"kind", "needs", "usable"})
    fields["parameters"] = count(model.parameters)
    fields["context_length"] = f"{model.context_length:,} tokens"
    fields["licence"] = _licence(model)
    fields["gated"] = _gate(model)
    del fields["licence_url"]
    if model.download_bytes:
        fields["download_bytes"] = size(model.download_bytes)
    names = {"download_bytes": "download", "context_length": "context", "obstacle": "not usable"}
    text = sheet({names.get(key, key): value for key, value in fields.items()})
    return f"{text}\n\n{_needs(model.needs)}" if model.needs else text


def count(number: int) -> str:
    """`135 M`, `3.82 B`."""
    return f"{number / 1e9:.2f} B" if number >= 999_500_000 else f"{number / 1e6:,.0f} M"


def size(number: int) -> str:
    """`98 MB`, `7.6 GB`: thousands, as disks are sold."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:,.0f} MB"


def fits(need: Need) -> str:
    """`yes`, `tight (1.2 GB to free)`, `no (5.0 GB missing)`."""
    if need.fits == "tight" and need.missing_bytes:
        return f"tight ({size(need.missing_bytes)} to free)"
    if need.fits == "no":
        return f"no ({size(need.missing_bytes)} missing)"
    return need.fits


def _verdict(model: CatalogModel, use: str) -> str:
    if not model.usable:
        return "not usable"
    return fits(getattr(model.needs, use)) if model.needs else "-"


def _needs(needs: Needs) -> str:
    rows: list[list[str]] = []
    for name, title in _USES.items():
        need: Need = getattr(needs, name)
        note = need.note
        if name in ("train_full", "train_lora"):
            note = f"rows of {needs.max_seq_length:,} tokens, precision {needs.precision}"
        # No trainer here can do it yet, so whether it would fit is no answer.
        verdict = "not here" if name == "train_qlora" else fits(need)
        rows.append([title, size(need.bytes), verdict, note])
    return table(["needs", "about", "fits here", "for"], rows)


def _licence(model: CatalogModel) -> str:
    return " ".join(part for part in (model.licence, model.licence_url) if part) or "not told"


def _gate(model: CatalogModel) -> str:
    if model.gated is None:
        return ""
    hub = next((each[4:] for each in model.sources if each.startswith("hub:")), model.name)
    return f"yes: accept the licence on the page of {hub} and set HF_TOKEN" if model.gated else "no"


def _table(models: Sequence[Any], columns: Mapping[str, Callable[[Any], Any]]) -> str:
    if not models:
        return ""
    rows = [[cell(read(model)) for read in columns.values()] for model in models]
    return table(list(columns), rows)


def _matches(model: Model, search: str) -> bool:
    words = [f"{model.name}:{model.version}", model.base_model or "", model.job or ""]
    words += [model.status, model.description, *model.tags, *model.tags.values()]
    text = " ".join(words).lower()
    return all(word in text for word in search.lower().split())


def _nothing(models: Models, search: str, *, versions: bool, bases: bool) -> str:
    """What comes near to words that nothing matches."""
    known: dict[str, str] = {}
    if bases:
        for model in models.catalog():
            known |= dict.fromkeys((model.name, model.family, *model.aliases), model.name)
    if versions:
        known |= {model.name: model.name for model in models.list()}
    near = list(dict.fromkeys(known[name] for name in nearest(search, known, limit=9)))[:3]
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    return f"No model matches '{search}'.{hint}"
