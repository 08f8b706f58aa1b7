"""What is known of a base model before it is used: of the catalog, in a folder, or in a file.

Weights are never read, only headers; nothing here touches the network (`hub_facts` does).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from phoundry.errors import InvalidInput
from phoundry.files import read_json
from phoundry.models import catalog
from phoundry.models.architectures import ARCHITECTURES
from phoundry.models.catalog import CatalogEntry, ModelSource
from phoundry.specs.catalog import CatalogModel

# How a turn begins, by family of templates; the first that a template holds names it.
_FORMS = {
    "<|im_start|>": "chatml",
    "<|start_header_id|>": "llama3",
    "<start_of_turn>": "gemma",
    "[INST]": "mistral",
    "<|end|>": "phi3",
}
_CONTEXT = "max_position_embeddings"
# Keys of config.json that sizes are computed from, and those that may be left out.
_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "vocab_size",
)
_MAYBE = ("num_key_value_heads", "head_dim", "sliding_window", "sliding_window_pattern", _CONTEXT)
_LARGEST = 1 << 40


@dataclass(frozen=True, slots=True)
class Described:
    """A model and its config.json, where it has one that sizes can be computed from."""

    view: CatalogModel
    config: Mapping[str, Any] | None


def of_entry(entry: CatalogEntry) -> Described:
    """A model of the catalog."""
    config = catalog.text_config(entry.config)
    reason = catalog.obstacle(entry.config)
    view = CatalogModel(
        name=entry.name,
        title=entry.title,
        family=entry.family,
        parameters=catalog.count_parameters(config),
        context_length=config["max_position_embeddings"],
        architecture=entry.config["model_type"],
        licence=entry.licence,
        licence_url=entry.licence_url,
        gated=entry.gated,
        template=entry.template.name,
        system=entry.template.system,
        tools=entry.template.tools,
        tokenizer=f"{entry.tokenizer}; {config['vocab_size']:,} tokens",
        source=entry.source,
        sources=list(dict.fromkeys([entry.source, f"hub:{entry.hub_id}"])),
        aliases=list(entry.aliases),
        download_bytes=entry.download_bytes,
        usable=reason is None,
        obstacle=reason,
        recommended=dict(entry.recommended),
        description=entry.description,
        notes=list(entry.notes),
    )
    return Described(view, config)


def of_local(source: ModelSource) -> Described:
    """A Hugging Face folder or a GGUF file on this machine.

    Raises:
        InvalidInput: damaged, or no model at all. A model that is whole and cannot be used here is
            described, with its `obstacle`.
    """
    path = Path(source.location)
    return _gguf(path) if source.kind == "gguf" else _folder(path)


def of_config(name: str, config: Mapping[str, Any], **facts: Any) -> Described:
    """A model that `config` (its config.json) describes; `facts` are fields of `CatalogModel`.

    `parameters` are computed from the config; those of `facts` count where it is not known how.
    """
    text = catalog.text_config(config)
    wrong = _wrong_sizes(text)
    values: dict[str, Any] = {
        "name": name,
        "architecture": str(config.get("model_type", "")),
        "context_length": 0 if _CONTEXT in wrong else text.get(_CONTEXT) or 0,
        "licence": "",
        "parameters": 0,
        "recommended": {} if "hidden_size" in wrong else catalog.recommended(text),
    }
    reason = catalog.obstacle(config)
    known = text if str(text.get("model_type")) in ARCHITECTURES and not wrong else None
    if known is not None:
        facts["parameters"] = catalog.count_parameters(known)
    elif wrong:
        reason = reason or f"Its config.json has no usable {', '.join(wrong)}."
    values |= {"usable": reason is None, "obstacle": reason}
    if "vocab_size" in text and "vocab_size" not in wrong:
        values["tokenizer"] = f"{text['vocab_size']:,} tokens"
    values |= {key: value for key, value in facts.items() if value is not None}
    return Described(CatalogModel.model_validate(values), known)


def _wrong_sizes(config: Mapping[str, Any]) -> list[str]:
    """Keys of a config whose values are no sizes."""

    def is_size(key: str) -> bool:
        value = config.get(key)
        return type(value) is int and 0 < value < _LARGEST

    wrong = [key for key in _SIZES if not is_size(key)]
    return wrong + [key for key in _MAYBE if config.get(key) is not None and not is_size(key)]


def template_facts(template: str | None) -> dict[str, str]:
    """The form of a chat template, and what it has a place for.

    A system message is tried out in the template's sandbox; tools count when it names them.
    """
    if not template:
        return {"template": "", "system": "", "tools": ""}
    form = next((name for mark, name in _FORMS.items() if mark in template), "own")
    tools = "yes" if re.search(r"(?<!['\".])\btools\b(?!['\"])", template) else "no"
    return {"template": form, "system": _system(template), "tools": tools}


def _system(template: str) -> str:
    from phoundry.data.template import ChatTemplate

    tokens = {"bos_token": "", "eos_token": "", "unk_token": "", "pad_token": ""}
    system, user = "Bqxsystem", "Bqxuser"
    try:
        text = ChatTemplate(template, "the model", tokens).render(
            [{"role": "system", "content": system}, {"role": "user", "content": user}],
            add_generation_prompt=True,
        )
    except InvalidInput:
        return "no: it refuses one"
    before, found, after = text.partition(system)
    if not found:
        return "no: it leaves one out"
    between, _, _ = after.partition(user)
    if user not in before and between.strip():
        return "own turn"
    return "before the first user message"


def read_template(folder: Path) -> str | None:
    """The chat template among a checkpoint's small files, or None."""
    try:
        return (folder / "chat_template.jinja").read_text()
    except FileNotFoundError:
        pass
    settings: Any = read_json(folder / "tokenizer_config.json")
    template: Any = cast("dict[str, Any]", settings).get("chat_template") if settings else None
    if isinstance(template, list):  # several, by name
        named = cast("list[dict[str, Any]]", template)
        template = {each.get("name"): each.get("template") for each in named}.get("default")
    return template if isinstance(template, str) else None


def _folder(path: Path) -> Described:
    from phoundry.models.checkpoints import check_folder
    from phoundry.models.tensors import weight_files

    config: Any = read_json(path / "config.json")
    if not isinstance(config, dict):
        raise InvalidInput(f"{path / 'config.json'} holds no JSON object.")
    reason = None
    size = 0
    try:
        check_folder(path)
        size = sum(file.stat().st_size for file in weight_files(path))
    except InvalidInput as error:
        faults = "; ".join(fault.reason for fault in error.faults)
        reason = f"{error.message} {faults}".strip()
    origin: Any = read_json(path / "source.json") or {}
    described = of_config(
        path.name,
        cast("dict[str, Any]", config),
        source=f"folder:{path}",
        sources=[f"folder:{path}"],
        licence=origin.get("licence") if isinstance(origin, dict) else None,  # pyright: ignore[reportUnknownMemberType]
        download_bytes=size or None,
        **template_facts(read_template(path)),
    )
    if reason is not None and described.view.usable:
        described.view.usable, described.view.obstacle = False, reason
    return described


def _gguf(path: Path) -> Described:
    from phoundry.models.gguf_file import GGUFFile

    file = GGUFFile(path)
    config, reason = _gguf_config(file)
    name = file.get("general.name")
    facts: dict[str, Any] = {
        "title": str(name) if name else "",
        "parameters": sum(math.prod(tensor.shape) for tensor in file.tensors.values()),
        "context_length": file.get("{arch}.context_length"),
        "licence": file.get("general.license"),
        "licence_url": file.get("general.license.link"),
        "tokenizer": _gguf_tokenizer(file),
        "source": f"gguf:{path}",
        "sources": [f"gguf:{path}"],
        "download_bytes": path.stat().st_size,
        "notes": [f"Its weights are kept as {_gguf_types(file)}."],
        **template_facts(file.get("tokenizer.chat_template")),
    }
    described = of_config(path.stem, config or {"model_type": file.architecture}, **facts)
    if described.view.usable and reason is not None:
        described.view.usable, described.view.obstacle = False, reason
    return Described(described.view, described.config if config else None)


def _gguf_config(file: Any) -> tuple[dict[str, Any] | None, str | None]:
    """config.json as it would be written, and why the file cannot be read back, if it cannot."""
    from phoundry.models.architectures import architecture
    from phoundry.models.from_gguf import config_of
    from phoundry.models.gguf_tokenizer import tokenizer_json

    try:
        config = config_of(file, architecture(file.architecture))
    except (InvalidInput, KeyError) as error:
        return None, str(error)
    tokens, merges = file.get("tokenizer.ggml.tokens"), file.get("tokenizer.ggml.merges")
    if not tokens or (file.get("tokenizer.ggml.model") == "gpt2" and not merges):
        return config, "It holds no tokenizer."
    try:
        tokenizer_json(file)
    except InvalidInput as error:
        return config, str(error)
    if not file.get("tokenizer.chat_template"):
        return config, "It has no chat template, so a conversation cannot be written for it."
    return config, None


def _gguf_tokenizer(file: Any) -> str:
    tokens = len(file.get("tokenizer.ggml.tokens") or [])
    kind = "/".join(
        str(part)
        for part in (file.get("tokenizer.ggml.model"), file.get("tokenizer.ggml.pre"))
        if part
    )
    return f"{kind or 'none'}; {tokens:,} tokens"


def _gguf_types(file: Any) -> str:
    """`Q4_1, F32`: the types of the file's tensors, by the weights that have them."""
    from gguf.constants import GGMLQuantizationType

    weights: dict[int, int] = {}
    for tensor in file.tensors.values():
        weights[tensor.kind] = weights.get(tensor.kind, 0) + math.prod(tensor.shape)
    known = {kind.value: kind.name for kind in GGMLQuantizationType}
    order = sorted(weights, key=lambda kind: weights[kind], reverse=True)
    return ", ".join(known.get(kind, f"type {kind}") for kind in order)
