"""A small data set of UltraChat 200k's shape: the same columns, splits, shards and card.

The texts are our own, made here; nothing is fetched.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

HUB_ID = "HuggingFaceH4/ultrachat_200k"
SPLITS = {"train_sft": 400, "test_sft": 40, "train_gen": 60, "test_gen": 20}

_CARD = """---
language:
- en
license: mit
configs:
- config_name: default
  data_files:
{paths}
dataset_info:
  config_name: default
  features:
  - name: prompt
    dtype: string
  - name: prompt_id
    dtype: string
  - name: messages
    list:
    - name: content
      dtype: string
    - name: role
      dtype: string
  splits:
{sizes}
---

# Conversations of a library's desk
"""

_THINGS = ("book", "map", "atlas", "novel", "newspaper", "record", "globe", "letter")
_PLACES = ("reading room", "cellar", "east wing", "children's corner", "archive")


def row(split: str, number: int) -> dict[str, Any]:
    """A conversation of two or four messages; `gen` splits end, as the real ones, with the user."""
    thing, place = _THINGS[number % len(_THINGS)], _PLACES[number % len(_PLACES)]
    prompt = f"May I take {thing} number {number} out of the {place}?"
    answer = (
        f"Yes: {thing} {number} may leave the {place} for {number % 27 + 1} days – naïve, isn't it?"
    )
    messages = [{"content": prompt, "role": "user"}, {"content": answer, "role": "assistant"}]
    if number % 3 == 0:
        messages.append({"content": "And after that?", "role": "user"})
        messages.append({"content": f"Then bring {thing} {number} back.", "role": "assistant"})
    prompt_id = hashlib.sha256(f"{split} {prompt}".encode()).hexdigest()
    return {"prompt": prompt, "prompt_id": prompt_id, "messages": messages}


def rows(split: str) -> list[dict[str, Any]]:
    return [row(split, number) for number in range(SPLITS[split])]


def write(folder: Path) -> Path:
    """The repository: README.md and Parquet files, `train_sft` in two shards of several groups."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "data").mkdir(parents=True)
    for split in SPLITS:
        whole = rows(split)
        shards = [whole[:250], whole[250:]] if split == "train_sft" else [whole]
        for number, part in enumerate(shards):
            name = f"{split}-{number:05}-of-{len(shards):05}.parquet"
            pq.write_table(pa.Table.from_pylist(part), folder / "data" / name, row_group_size=100)
    paths = "\n".join(f"  - split: {name}\n    path: data/{name}-*" for name in SPLITS)
    sizes = "\n".join(
        f"  - name: {name}\n    num_bytes: {n * 400}\n    num_examples: {n}"
        for name, n in SPLITS.items()
    )
    (folder / "README.md").write_text(_CARD.format(paths=paths, sizes=sizes), encoding="utf-8")
    return folder
