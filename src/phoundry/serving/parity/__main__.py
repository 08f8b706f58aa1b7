"""The gate's worker: `python -m phoundry.serving.parity RUN_DIR`.

spec.json:

    checkpoint_dir   the model as it was registered: the reference, and its tokenizer
    replica_url      of a replica that is ready
    token            bearer that it takes; the spec file is 0600
    engine           what serves
    quantization     of the GGUF; null where the engine takes the checkpoint itself
    context_length   tokens of one conversation there
    threads          of the reference
    key              by what the result is remembered; passed through

What training kept is read from `checkpoint_dir/parity.json`, where there is one. result.json has
`{key, report}`: a `specs.parity.ParityReport`, also where the deployment does not pass.
Events: `progress {message}`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.data import ChatTokenizer
from phoundry.errors import MissingDependency
from phoundry.serving.parity.check import Render, Served, check
from phoundry.serving.parity.conversations import read_replay
from phoundry.serving.parity.door import ReplicaDoor
from phoundry.specs.parity import REPLAY_FILE
from phoundry.spool import Spool
from phoundry.worker import main

if TYPE_CHECKING:
    from phoundry.serving.parity.reference import Reference
    from phoundry.serving.parity.rendering import ReferenceTemplate


def task(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """The worker's task (see `phoundry.worker`).

    Raises:
        MissingDependency: torch or transformers are not installed: nothing is proven without.
        ModelError, Unavailable: the reference or the replica failed.
    """
    folder = Path(spec["checkpoint_dir"])
    tokenizer = ChatTokenizer.load(folder)
    served = Served(
        engine=str(spec["engine"]),
        quantization=spec.get("quantization"),
        context_length=int(spec["context_length"]),
        end_ids=frozenset(tokenizer.end_token_ids),
        text=lambda token: tokenizer.decode([token], skip_special=False),
        dated=_dated(folder),
    )

    def say(message: str) -> None:
        spool.append("progress", message=message)

    async def checking() -> dict[str, Any]:
        door = ReplicaDoor(str(spec["replica_url"]), str(spec["token"]))
        try:
            report = await check(
                served,
                read_replay(folder / REPLAY_FILE),
                door,
                lambda: _reference(folder, int(spec["threads"])),
                _template(folder),
                say,
            )
        finally:
            await door.close()
        return report.model_dump(mode="json")

    return {"key": spec.get("key"), "report": asyncio.run(checking())}


def _dated(folder: Path) -> bool:
    """Whether the chat template asks for the time."""
    names = ("chat_template.jinja", "tokenizer_config.json")
    files = [folder / name for name in names]
    return any("strftime_now" in file.read_text("utf-8") for file in files if file.is_file())


def _template(folder: Path) -> Render:
    """transformers' rendering, loaded when it is first asked for: with a record it never is."""
    made: list[ReferenceTemplate] = []

    def render(
        messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None
    ) -> list[int] | None:
        if not made:
            try:
                from phoundry.serving.parity.rendering import ReferenceTemplate
            except ModuleNotFoundError as error:
                raise _missing(error) from None
            made.append(ReferenceTemplate(folder))
        return made[0].render(messages, tools)

    return render


def _reference(folder: Path, threads: int) -> Reference:
    try:
        from phoundry.serving.parity.reference import Reference
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    return Reference(folder, threads=threads)


def _missing(error: ModuleNotFoundError) -> MissingDependency:
    return MissingDependency(
        f"The deploy gate compares with transformers, and the package '{error.name}' is not "
        "installed.",
        remedy='Install it with: pip install "phoundry[train]"; or deploy without a proof: '
        "--no-gate.",
    )


if __name__ == "__main__":
    main(task, lean=True)
