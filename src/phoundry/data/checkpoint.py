"""The files of a checkpoint's folder that tell how it writes text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer

from phoundry.errors import InvalidInput, NotFound

# All that is read here: who keeps what a tokenizer made knows by these whether it is the same.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "config.json",
)
_TOKEN_NAMES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """What was read. `tokens` has the named tokens' text, `eos_ids` the ids that end a turn."""

    name: str
    tokenizer: Tokenizer
    template: str
    tokens: Mapping[str, str]
    special_ids: frozenset[int]
    eos_ids: frozenset[int]
    add_bos: bool

    def id_of(self, token: str) -> int | None:
        """The id of a named token such as `bos_token`, or None."""
        text = self.tokens.get(token)
        return None if text is None else self.tokenizer.token_to_id(text)


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """Read them all.

    Raises:
        NotFound: there is no tokenizer.json.
        InvalidInput: a file can't be read, or there is no chat template.
    """
    tokenizer = _tokenizer(folder / "tokenizer.json")
    config = _object(folder / "tokenizer_config.json")
    tokens = {name: text for name in _TOKEN_NAMES if (text := _text(config.get(name))) is not None}
    added = tokenizer.get_added_tokens_decoder()
    return TokenizerFiles(
        name=folder.name,
        tokenizer=tokenizer,
        template=_template(folder, config),
        tokens=tokens,
        special_ids=frozenset(token for token, entry in added.items() if entry.special),
        eos_ids=_eos_ids(folder, tokenizer, tokens.get("eos_token")),
        add_bos=config.get("add_bos_token") is True,
    )


def _tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise NotFound(
            f"{path.parent} has no tokenizer.json.",
            remedy="Save the checkpoint with transformers' fast tokenizer.",
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001  (the library raises nothing more precise)
        raise InvalidInput(f"{path} is not a tokenizer: {error}.") from None
    # Training cuts and packs by rules of its own.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _template(folder: Path, config: Mapping[str, Any]) -> str:
    path = folder / "chat_template.jinja"
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{path} is not UTF-8 at byte {error.start}.") from None
    written = config.get("chat_template")
    if isinstance(written, list):  # several, by name
        named = {str(t["name"]): t["template"] for t in cast("list[dict[str, Any]]", written)}
        written = named.get("default")
    if isinstance(written, str):
        return written
    raise InvalidInput(
        f"{folder.name} has no chat template, so it is not known how it is spoken to.",
        remedy="Choose a chat (instruct) model, or put its chat_template.jinja into the folder.",
    )


def _eos_ids(folder: Path, tokenizer: Tokenizer, eos_token: str | None) -> frozenset[int]:
    for name in ("generation_config.json", "config.json"):
        value = _object(folder / name).get("eos_token_id")
        if isinstance(value, int):
            return frozenset({value})
        if isinstance(value, list) and value:
            return frozenset(int(token) for token in cast("list[int]", value))
    last_resort = None if eos_token is None else tokenizer.token_to_id(eos_token)
    return frozenset() if last_resort is None else frozenset({last_resort})


def _text(value: Any) -> str | None:
    """A token's text: as it stands, or the `content` of an object."""
    if isinstance(value, Mapping):
        value = cast("Mapping[str, Any]", value).get("content")
    return value if isinstance(value, str) else None


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{path} holds no JSON object.")
    return cast("dict[str, Any]", value)
