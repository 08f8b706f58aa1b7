"""`phoundry data`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phoundry.cli.commands import noun, verb
from phoundry.cli.output import Format, Output, Printer
from phoundry.cli.screen import echo

app = noun("Data assets: checked, split, versioned chats.")


@verb(app, "create", example="phoundry data create faq --source faq.jsonl --test-size 0.1")
def create(
    name: Annotated[str, typer.Argument(help="Name of the asset.")],
    source: Annotated[Path, typer.Option("--source", "-s", help="JSONL file of chats.")],
    test_size: Annotated[
        float, typer.Option(help="Share of the conversations kept for evaluation.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 42,
    output: Output = Format.table,
) -> None:
    """Check FILE row by row, split it, and keep it as the next version of NAME.

    Each line is one conversation: {"messages": [{"role": "user", "content": "…"}, …]}.
    Every bad row is reported with its line; then nothing is kept.
    """
    from phoundry.client import Client

    out = Printer(output)
    asset = Client().data.create(name, source, test_size=test_size, seed=seed)
    out.one(asset)
    out.suggest(f"phoundry train smollm2-135m-instruct {asset.name}:{asset.version}")


@verb(app, "list", example="phoundry data list")
def list_(output: Output = Format.table) -> None:
    """List every version of every data asset."""
    from phoundry.client import Client

    Printer(output).many(
        Client().data.list(),
        {
            "name": lambda asset: f"{asset.name}:{asset.version}",
            "train": lambda asset: asset.train.rows,
            "test": lambda asset: asset.test.rows if asset.test else 0,
            "file": lambda asset: asset.filename,
            "sha256": lambda asset: asset.sha256[:12],
            "created": lambda asset: asset.created_at,
        },
        "There is no data asset yet: phoundry data create NAME --source FILE",
    )


@verb(app, "show", example="phoundry data show faq:1 --rows 3")
def show(
    name: Annotated[str, typer.Argument(help="NAME (its newest version) or NAME:VERSION.")],
    rows: Annotated[int, typer.Option(min=0, help="Also print that many conversations.")] = 0,
    output: Output = Format.table,
) -> None:
    """Show a data asset, and with --rows what is in it."""
    from phoundry.client import Client

    out, client = Printer(output), Client()
    asset = client.data.show(name)
    if not rows:
        out.one(asset)
        return
    samples = list(client.data.rows(f"{asset.name}:{asset.version}", limit=rows))
    if out.talks:
        out.one(asset)
        for sample in samples:
            turns = [f"{turn['role']}: {turn['content']}" for turn in sample["messages"]]
            echo("\n" + "\n".join(turns))
    else:
        out.value(asset.model_dump(mode="json") | {"rows": samples})
