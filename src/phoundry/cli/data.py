"""`phoundry data`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoundry.cli.arguments import assignments, confirm
from phoundry.cli.commands import noun, verb
from phoundry.cli.output import Format, Output, Printer
from phoundry.cli.screen import echo
from phoundry.errors import UsageError

if TYPE_CHECKING:
    from phoundry.client.data import Split
    from phoundry.specs.data import DataAsset

app = noun("Data assets: checked, split, versioned chats.")
Reference = Annotated[str, typer.Argument(help="NAME (its newest version) or NAME:VERSION.")]


@verb(
    app,
    "create",
    example="phoundry data create faq --source faq.jsonl --test-size 0.1\n"
    "phoundry data create faq --source 'chats/*.csv' --map question=prompt --skip-bad 5\n"
    "phoundry data create chats --source HuggingFaceH4/ultrachat_200k --split 'train_sft[:1%]'",
)
def create(
    name: Annotated[str | None, typer.Argument(help="Name of the asset.")] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", "-s", "--path", help="A file, a folder, a glob or a hub id."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Azure ML's data asset YAML.")
    ] = None,
    config: Annotated[str | None, typer.Option(help="Configuration of a hub data set.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Split of a hub data set, such as 'train_sft[:1%]'.")
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="What a row looks like; detected unless named.")
    ] = None,
    mapping: Annotated[
        list[str] | None, typer.Option("--map", help="Which column is what: question=prompt.")
    ] = None,
    skip_bad: Annotated[int | None, typer.Option(help="So many bad rows may be left out.")] = None,
    test_size: Annotated[
        float | None, typer.Option(help="Share of the rows kept for evaluation (0.2).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the split (42).")] = None,
    description: Annotated[str | None, typer.Option(help="What it is, for people.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tags", help="Labels, name=value.")] = None,
    output: Output = Format.table,
) -> None:
    """Read SOURCE row by row, check and split it, and keep it as the next version of NAME.

    JSONL, JSON, CSV, TSV and Parquet are read, also as .gz or .zst; messages, ShareGPT, Alpaca,
    prompt and completion, question and answer, and preference pairs. What was found is said. Every
    bad row is reported with its line; then nothing is kept, unless --skip-bad allows as many.
    """
    from phoundry.cli.data_rows import print_asset
    from phoundry.cli.progress import displayed
    from phoundry.client import Client
    from phoundry.data import parse_mapping

    given: dict[str, Any] = {
        "name": name,
        "source": source,
        "config": config,
        "split": split,
        "format": format_,
        "mapping": parse_mapping(mapping) if mapping else None,
        "skip_bad": skip_bad,
        "test_size": test_size,
        "seed": seed,
        "description": description,
        "tags": assignments(tags, "--tags") or None,
    }
    settings = _written(file) | {key: value for key, value in given.items() if value is not None}
    _check_complete(settings)
    out = Printer(output)
    with displayed(out) as show:

        def tell(what: str, done: int, total: int) -> None:
            # A small file is there before anybody could read about it.
            if not total or total > 10_000_000:
                share = f" {100 * done // total} %" if total else ""
                show(f"▸ {what}{share}", what)

        asset = Client().data.create(**settings, on_progress=tell)
    print_asset(out, asset)
    for line in findings(asset):
        out.note(line)
    reference = f"{asset.name}:{asset.version}"
    if asset.type == "preference":
        out.note("Preference pairs are kept; there is no training on them yet.")
        out.suggest(f"phoundry data show {reference} --rows 3")
        return
    out.suggest(
        f"phoundry train smollm2-135m-instruct {reference}",
        f"phoundry data show {reference} --rows 3 --model smollm2-135m-instruct",
    )


def _written(file: Path | None) -> dict[str, Any]:
    """What an Azure ML data YAML says, as arguments; its path is seen from the file."""
    if file is None:
        return {}
    from phoundry.specs import yaml
    from phoundry.specs.documents import DataDocument

    written = yaml.load(file, DataDocument).model_dump(exclude_unset=True)
    for recorded in ("schema_", "version", "type"):
        written.pop(recorded, None)
    near = file.parent / written["source"]
    if near.exists() or any(char in written["source"] for char in "*?["):
        written["source"] = str(near)
    return written


def _check_complete(settings: dict[str, Any]) -> None:
    missing = [key for key in ("name", "source") if not settings.get(key)]
    if missing:
        raise UsageError(
            f"The asset's {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.",
            remedy="Write `phoundry data create NAME --source SOURCE`, or name a YAML with -f.",
        )


def findings(asset: DataAsset) -> list[str]:
    """What was detected and what became of the rows, in sentences."""
    parts = ", ".join(f"{part} from '{column}'" for part, column in asset.mapping.items())
    lines = [f"Read as {asset.format} ({asset.container}{'; ' + parts if parts else ''})."]
    kept = asset.train.rows + (asset.test.rows if asset.test else 0)
    counts = [f"{asset.rows_read:,} rows read", f"{kept:,} kept"]
    if asset.skipped:
        bad = "bad one" if asset.skipped == 1 else "bad ones"
        counts.append(f"{asset.skipped:,} {bad} skipped")
    if asset.duplicates:
        counts.append(f"{asset.duplicates:,} repeat an earlier one and stay on its side")
    return [*lines, ", ".join(counts) + "."]


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
            "format": lambda asset: f"{asset.format} ({asset.container})",
            "file": lambda asset: asset.filename,
            "sha256": lambda asset: asset.sha256[:12],
            "created": lambda asset: asset.created_at,
        },
        "There is no data asset yet: phoundry data create NAME --source FILE",
    )


@verb(
    app,
    "show",
    example="phoundry data show faq:1 --rows 3\n"
    "phoundry data show faq --rows 2 --model smollm2-135m-instruct",
)
def show(
    name: Reference,
    rows: Annotated[int, typer.Option(min=0, help="Also print that many rows.")] = 0,
    split: Annotated[
        str, typer.Option(help="Of which split: train, test or all.", metavar="SPLIT")
    ] = "train",
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Print them as this model sees them.")
    ] = None,
    max_seq_length: Annotated[
        int | None, typer.Option(min=1, help="Tokens a row may have, as for `phoundry train`.")
    ] = None,
    output: Output = Format.table,
) -> None:
    """Show a data asset, with --rows what is in it, with --model as tokens.

    Of the tokens those are marked that the model learns to say. A histogram tells how long the
    rows are, and how many are too long.
    """
    from phoundry.cli.data_rows import print_asset, print_rows
    from phoundry.client import Client

    if max_seq_length is not None and model is None:
        raise UsageError(
            "--max-seq-length counts a model's tokens, and no model is named.",
            remedy="Name it: --model smollm2-135m-instruct.",
        )
    out, client = Printer(output), Client()
    asset = client.data.show(name)
    reference, part = f"{asset.name}:{asset.version}", _part(split)
    if model is not None:
        from phoundry.cli.data_tokens import print_tokens

        print_tokens(client, out, asset, model, part, rows, max_seq_length)
        return
    if not rows:
        print_asset(out, asset)
        return
    samples = list(client.data.rows(reference, split=part, limit=rows))
    if out.talks:
        print_asset(out, asset)
        print_rows(samples)
    else:
        out.value(asset.model_dump(mode="json") | {"rows": samples})


@verb(app, "export", example="phoundry data export faq:1 --split train --out train.jsonl")
def export(
    name: Reference,
    split: Annotated[
        str, typer.Option(help="Which rows: train, test or all.", metavar="SPLIT")
    ] = "all",
    out_: Annotated[
        Path | None, typer.Option("--out", help="Write there instead of standard output.")
    ] = None,
) -> None:
    """Write an asset's rows as JSONL, one conversation or pair a line.

    To a file all of them are written, or nothing.
    """
    from phoundry.client import Client

    data = Client().data
    if out_ is not None:
        data.export(name, out_, split=_part(split))
        Printer(Format.table).note(f"Written to {out_}.")
        return
    with data.stream(name, split=_part(split)) as pieces:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


@verb(app, "diff", example="phoundry data diff faq:1 faq:2")
def diff(
    before: Annotated[str, typer.Argument(help="NAME or NAME:VERSION.")],
    after: Annotated[str, typer.Argument(help="NAME or NAME:VERSION.")],
    rows: Annotated[int, typer.Option(min=0, max=100, help="Print so many of each.")] = 3,
    output: Output = Format.table,
) -> None:
    """Compare two assets: rows added, removed and kept, and how they were made."""
    from phoundry.cli.data_rows import print_diff
    from phoundry.client import Client

    out = Printer(output)
    found = Client().data.diff(before, after, limit=rows)
    if out.talks:
        print_diff(found)
    else:
        out.one(found)


@verb(app, "delete", example="phoundry data delete faq:1")
def delete(
    name: Annotated[str, typer.Argument(help="NAME:VERSION, or NAME for every version.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    output: Output = Format.table,
) -> None:
    """Delete a version of a data asset, or all of them.

    Refused while a job that has not ended uses it. The disk space is freed by `phoundry prune`.
    """
    from phoundry.client import Client

    out, data = Printer(output), Client().data
    asset = data.show(name)  # what is not there needs no question
    whole = ":" not in name and "@" not in name
    confirm(f"Delete {f'every version of {asset.name}' if whole else name}?", yes=yes)
    removed = list(data.delete(name))
    if out.talks:
        echo("Deleted " + ", ".join(removed) + ".")
    else:
        out.value({"deleted": removed})


def _part(text: str) -> Split:
    if text not in ("train", "test", "all"):
        raise UsageError(f"There is no split '{text}'.", remedy="Choose train, test or all.")
    return text
