"""One run of a flow for people to read. Needs no Typer: `quick` shows a run with it, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from phoundry.cli.sheet import sheet


def in_words(
    result: Mapping[str, Any], log: str, *, shown: bool = False
) -> Iterator[tuple[str, bool]]:
    """What is printed of `result` (the fields of `specs.flow.FlowResult`) and of `log`, what the
    flow printed, in order: each a text, and whether it is narration. `shown`: the output was."""
    if log.strip():
        yield log.rstrip(), True
    for node, status in result["nodes"].items():
        yield f"{status:<10} {node}", True
    if result["output"] is not None and not shown:
        yield sheet(result["output"]), False
    if result["metrics"]:
        yield sheet(result["metrics"]), False
    if error := result["error"]:
        codes = " / ".join(error.get("codes") or [error.get("code", "")])
        message, remedy = error.get("message", ""), error.get("remedy")
        hint = f"\n  {remedy}" if remedy and remedy not in message else ""
        yield f"Error: {message}{hint}\n  ({codes})", True
