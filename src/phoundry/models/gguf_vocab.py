"""tokenizer.json as GGUF metadata.

Our own endpoints send token ids to llama.cpp, so this is for everyone else who opens the file:
ollama, llama-cli, LM Studio. It must cut a text as training did all the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from phoundry.errors import InvalidInput
from phoundry.files import read_json
from phoundry.models.gguf_tokenizer import PRE_TOKENIZERS

if TYPE_CHECKING:
    from gguf import GGUFWriter

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
# llama.cpp looks this token up in every file of architecture phi3, and ends if it is missing.
_PHI3_NEEDS = "<|endoftext|>"


def add_tokenizer(writer: GGUFWriter, folder: Path, config: Mapping[str, Any]) -> list[str]:
    """Write the keys of `tokenizer.*` for the checkpoint in `folder`; returns notices.

    Raises:
        InvalidInput: no byte-pair tokenizer, more tokens than the model has rows, or none that
            llama.cpp needs.
    """
    tokenizer = _read(folder)
    tokens, kinds, notices = _tokens(tokenizer, int(config["vocab_size"]))
    if config["model_type"] == "phi3" and _PHI3_NEEDS not in tokens:
        raise InvalidInput(
            f"llama.cpp reads a Phi-3 model only if its vocabulary has the token '{_PHI3_NEEDS}'.",
            remedy="Add it to the special tokens of tokenizer.json.",
        )
    merges = [_pair(merge) for merge in tokenizer["model"]["merges"]]
    if tokenizer["model"].get("byte_fallback"):
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_scores(_scores(tokens, merges))
        spaces = _adds_space(tokenizer)
        writer.add_add_space_prefix(spaces is not None)
        if spaces == "first":
            notices.append(
                "llama.cpp puts a space after each control token, this tokenizer only at the "
                "start. Phoundry's endpoints are not affected; other programs may cut some texts "
                "in another way."
            )
    else:
        writer.add_tokenizer_model("gpt2")
        pre = pre_tokenizer_name(tokenizer.get("pre_tokenizer"))
        if pre is None:
            pre = "default"
            notices.append(
                "llama.cpp has no name for how this tokenizer cuts a text. Phoundry's endpoints "
                "are not affected; other programs may cut some texts in another way."
            )
        writer.add_tokenizer_pre(pre)
        writer.add_token_merges([f"{first} {second}" for first, second in merges])
        writer.add_add_space_prefix(False)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    _add_special(writer, folder, config, tokens)
    template = folder / "chat_template.jinja"
    if template.is_file():
        writer.add_chat_template(template.read_text(encoding="utf-8"))
    return notices


def check_tokenizer(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise InvalidInput where `add_tokenizer` would, for the kind and the number of tokens."""
    _tokens(_read(folder), int(config["vocab_size"]))


def pre_tokenizer_name(pre: Any) -> str | None:
    """llama.cpp's name of a `pre_tokenizer` of tokenizer.json, or None where it has none."""
    wanted = _canonical(pre)
    for name, known in PRE_TOKENIZERS.items():
        if _canonical(known) == wanted:
            return name
    return None


def special_ids(folder: Path, tokens: Mapping[str, int]) -> dict[str, int]:
    """Ids of `bos`, `eos`, `unk`, `pad` by tokenizer_config.json; `eot` by generation_config.json.

    `eos` must be a token that ends an answer: where generation_config.json lists such tokens and
    tokenizer_config.json names another one, the first of the list is taken.
    """
    names: dict[str, Any] = read_json(folder / "tokenizer_config.json") or {}
    found: dict[str, int] = {}
    for key in ("bos", "eos", "unk", "pad"):
        token: Any = names.get(f"{key}_token")
        if isinstance(token, dict):  # older files keep an object
            token = cast("dict[str, Any]", token).get("content")
        if token in tokens:
            found[key] = tokens[token]
    ends = end_ids(folder)
    if ends and found.get("eos") not in ends:
        found["eos"] = ends[0]
    template = folder / "chat_template.jinja"
    text = template.read_text(encoding="utf-8") if template.is_file() else ""
    by_id = {number: token for token, number in tokens.items()}
    turns = [end for end in ends if by_id.get(end, "\0") in text and end != found.get("eos")]
    if turns:
        found["eot"] = turns[0]
    return found


def end_ids(folder: Path) -> list[int]:
    """Ids that end an answer, by generation_config.json, else config.json."""
    for name in ("generation_config.json", "config.json"):
        config: dict[str, Any] = read_json(folder / name) or {}
        ends: Any = config.get("eos_token_id")
        if ends is not None:
            return [int(end) for end in (ends if isinstance(ends, list) else [ends])]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return []


def _read(folder: Path) -> dict[str, Any]:
    tokenizer: dict[str, Any] | None = read_json(folder / "tokenizer.json")
    if tokenizer is None:
        raise InvalidInput(f"{folder} holds no tokenizer.json.")
    kind = tokenizer.get("model", {}).get("type")
    if kind != "BPE":
        raise InvalidInput(
            f"The tokenizer in {folder} is of the kind '{kind}'; only BPE can be converted."
        )
    return tokenizer


def _tokens(tokenizer: Mapping[str, Any], rows: int) -> tuple[list[str], list[int], list[str]]:
    """Tokens and their types by id, and notices. Ids that nothing names become unused ones.

    Gemma 3 without pictures keeps the token that stands for one: an id for which it has no row. As
    nothing writes such a token, it is left out; a token of ordinary text would be missed.
    """
    vocab: dict[str, int] = tokenizer["model"]["vocab"]
    added: list[dict[str, Any]] = tokenizer.get("added_tokens") or []
    special = {entry["id"] for entry in added if entry.get("special")}
    ids = {*vocab.values(), *(entry["id"] for entry in added)}
    beyond = sorted(number for number in ids if number >= rows)
    if not special.issuperset(beyond):
        raise InvalidInput(
            f"The tokenizer has {max(ids) + 1} tokens; the model has rows for {rows}.",
            remedy="Put the tokenizer beside the model that it was trained with.",
        )
    notices = [
        f"The model has no row for the token {entry['content']}; it is left out."
        for entry in added
        if entry["id"] in beyond
    ]
    added = [entry for entry in added if entry["id"] < rows]
    tokens = [f"[PAD{number}]" for number in range(rows)]
    kinds = [_UNUSED] * rows
    fallback = bool(tokenizer["model"].get("byte_fallback"))
    for token, number in vocab.items():
        if number >= rows:
            continue
        is_byte = fallback and len(token) == 6 and token.startswith("<0x")
        tokens[number], kinds[number] = token, _BYTE if is_byte else _NORMAL
    for entry in added:
        number = int(entry["id"])
        # llama.cpp looks for these in the text as it was typed.
        tokens[number] = str(entry["content"]).replace("▁", " ") if fallback else entry["content"]
        kinds[number] = _CONTROL if entry.get("special") else _USER_DEFINED
    unknown = tokenizer["model"].get("unk_token")
    if fallback and unknown in vocab:
        kinds[vocab[unknown]] = _UNKNOWN
    return tokens, kinds, notices


def _scores(tokens: list[str], merges: list[tuple[str, str]]) -> list[float]:
    """Scores for llama.cpp's merging by score: the earlier a token's merge, the higher.

    SentencePiece's own scores are these ranks; tokens that no merge makes come last.
    """
    rank: dict[str, int] = {}
    for number, (first, second) in enumerate(merges):
        rank.setdefault(first + second, number)
    return [-float(rank.get(token, len(merges))) for token in tokens]


def _adds_space(tokenizer: Mapping[str, Any]) -> str | None:
    """Before what the tokenizer puts a space: "always" a text between control tokens, only the
    "first", or None."""
    if '"Prepend"' in json.dumps(tokenizer.get("normalizer")):
        return "always"
    steps: Any = tokenizer.get("pre_tokenizer") or {}
    for step in steps.get("pretokenizers", [steps]):
        if step.get("type") == "Metaspace":
            scheme = step.get(
                "prepend_scheme", "always" if step.get("add_prefix_space") else "never"
            )
            return None if scheme == "never" else str(scheme)
    return None


def _pair(merge: Any) -> tuple[str, str]:
    """A merge: `["a", "b"]` today, `"a b"` in older files."""
    first, second = merge.split(" ", 1) if isinstance(merge, str) else merge
    return str(first), str(second)


def _canonical(pre: Any) -> Any:
    """A pre-tokenizer without what does not change its cuts, and without needless nesting."""
    if not isinstance(pre, dict):
        return None
    outer = cast("dict[str, Any]", pre)
    steps: list[dict[str, Any]] = outer.get("pretokenizers", [outer])
    kept = ("type", "individual_digits", "use_regex", "pattern", "behavior", "invert")
    result: list[dict[str, Any]] = []
    for step in steps:
        if step.get("add_prefix_space"):
            return None
        merged = {"use_regex": True, **step} if step.get("type") == "ByteLevel" else step
        result.append({key: merged[key] for key in kept if key in merged})
    return result


def _add_special(
    writer: GGUFWriter, folder: Path, config: Mapping[str, Any], tokens: list[str]
) -> None:
    from tokenizers import Tokenizer

    ids = special_ids(folder, {token: number for number, token in enumerate(tokens)})
    bos = ids.get("bos", config.get("bos_token_id"))
    if bos is not None:
        writer.add_bos_token_id(int(bos))
    for key, add in (
        ("eos", writer.add_eos_token_id),
        ("eot", writer.add_eot_token_id),
        ("unk", writer.add_unk_token_id),
        ("pad", writer.add_pad_token_id),
    ):
        if key in ids:
            add(ids[key])
    # What the tokenizer does counts, not what tokenizer_config.json says that it does.
    start = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("a").ids
    writer.add_add_bos_token(bos is not None and start[:1] == [bos])
