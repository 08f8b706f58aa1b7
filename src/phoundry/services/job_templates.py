"""Whether a model's chat template has a place for what the conversations hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.errors import Fault, InvalidInput
from phoundry.services import bases, data
from phoundry.services.context import Context
from phoundry.specs.data import DataAsset

if TYPE_CHECKING:
    from phoundry.data import ChatTokenizer

LOOKED_AT = 200  # conversations with tools in a split; whoever trains looks at all
_MARKS = (b'"tool_calls"', b'"tools"')


def check_tools(context: Context, model: str, splits: list[tuple[DataAsset, str]]) -> None:
    """Refuse conversations with tool calls where the model's template would leave them out.

    Nothing is looked at before the model's tokenizer is here: the job itself looks again.

    Raises:
        InvalidInput: with each such conversation.
    """
    with context.begin("models/read") as session:
        folder = bases.tokenizer_dir(session, context, model)
    if folder is None:
        return
    tokenizer: ChatTokenizer | None = None
    faults: list[Fault] = []
    remedy = None
    for asset, split in splits:
        path = data.split_path(context, asset, split)
        for number, row in _with_tools(path):
            if tokenizer is None:
                from phoundry.data import ChatTokenizer

                tokenizer = ChatTokenizer.load(folder)
            if refusal := _refusal(tokenizer, row):
                where = f"{asset.name}:{asset.version} ({split}) row {number}"
                faults.append(Fault(where, refusal.message.replace(folder.name, model)))
                remedy = refusal.remedy
    if faults:
        raise InvalidInput(
            f"{len(faults)} conversations cannot be rendered for {model}.",
            faults=faults,
            remedy=remedy,
        )


def _with_tools(path: Path | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """The first conversations that may have tools, with their numbers from 1."""
    if path is None:
        return
    found = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            # Far cheaper than to parse every line; a text that says so is looked at in vain.
            if any(mark in line for mark in _MARKS):
                yield number, json.loads(line)
                found += 1
                if found == LOOKED_AT:
                    return


def _refusal(tokenizer: ChatTokenizer, row: dict[str, Any]) -> InvalidInput | None:
    try:
        for part in tokenizer.parts(row["messages"], row.get("tools")):
            tokenizer.render_example(part, row.get("tools"))
    except InvalidInput as error:
        return error
    return None
