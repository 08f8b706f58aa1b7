"""The options of a batch run, and what they say together with a YAML file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoundry.cli.arguments import assignments, placed
from phoundry.errors import UsageError

if TYPE_CHECKING:
    from phoundry.specs.flow_run import FlowRunSpec

Data = Annotated[
    str | None,
    typer.Option(help="JSONL, JSON, CSV or TSV, a folder of them, or a data asset NAME:VERSION."),
]
Mapped = Annotated[
    list[str] | None,
    typer.Option(
        "--column-mapping",
        help="input='${data.x}', '${run.inputs.x}', '${run.outputs.x}' or a literal.",
    ),
]
Run = Annotated[
    str | None, typer.Option("--run", help="A run whose inputs and outputs this one reads.")
]
Variant = Annotated[str | None, typer.Option(help="${node.variant} to run with.")]
Connections = Annotated[list[str] | None, typer.Option(help="node.input=connection.")]
Environment = Annotated[
    list[str] | None, typer.Option("--environment-variables", help="name=value, for the flow.")
]
Init = Annotated[
    list[str] | None,
    typer.Option("--init", help="name=value for a flex flow's class, or a JSON file."),
]
Split = Annotated[str | None, typer.Option(help="Of a data asset: train, test or all.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Lines at a time; a line a core unless set.")
]
Timeout = Annotated[float | None, typer.Option(help="Seconds that one line may take (600).")]


def described(settings: Sequence[str] | None) -> tuple[dict[str, str], dict[str, str]]:
    """What `--set` words say of a run that is there: its display name and description, and tags.

    Raises:
        UsageError: a word of another form, or of something that can't be changed.
    """
    given = assignments(settings, "--set")
    tags = {key[5:]: text for key, text in given.items() if key.startswith("tags.")}
    plain = {key: text for key, text in given.items() if not key.startswith("tags.")}
    if unknown := sorted(plain.keys() - {"display_name", "description"}):
        raise UsageError(
            f"A run's {', '.join(unknown)} can't be changed.",
            remedy="Set display_name, description or tags.NAME.",
        )
    return plain, tags


def spec_of(
    file: Path | None, given: Mapping[str, Any], settings: Sequence[str] | None
) -> FlowRunSpec:
    """What the YAML `file` says, with the options `given` and the `--set` words over it.

    Raises:
        UsageError: no flow is named, or a word of another form.
        InvalidInput: every fault, with its line where it stands in a file.
    """
    from phoundry.client.checking import checked
    from phoundry.specs.flow_run import FlowRunSpec

    values = _written(file) if file else {}
    options = {key: value for key, value in given.items() if value is not None}
    for key, option in _WORDS.items():
        if key in options:
            options[key] = {**values.get(key, {}), **_words(options[key], option)}
    values = placed(values | options, assignments(settings, "--set"))
    if not values.get("flow"):
        raise UsageError(
            "No flow is named.", remedy="Write --flow PATH, or give a run's YAML with -f."
        )
    if not any(values.get(key) for key in ("data", "run", "resume_from")):
        raise UsageError(
            "Either run or data or resume from run must be specified for flow run.",
            remedy="Write --data FILE, --run NAME or --resume-from NAME.",
        )
    return checked(FlowRunSpec, values, "The run")


_WORDS = {
    "column_mapping": "--column-mapping",
    "connections": "--connections",
    "environment_variables": "--environment-variables",
    "init": "--init",
}


def _words(words: Sequence[str], option: str) -> dict[str, Any]:
    """`name=value` words; a JSON file, or a JSON object, stands for many."""
    values: dict[str, Any] = {}
    for word in words:
        if word.lstrip().startswith("{") and not word.startswith("${"):
            values |= _object(word, option)
        elif "=" not in word and word.endswith(".json"):
            values |= _object(_text(Path(word)), word)
        else:
            # `a='${data.b}',c=1`: Prompt flow takes a comma, too, where a reference ends.
            values |= assignments(word.replace("},", "}\0").split("\0"), option)
    return values


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        found: Any = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{where} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{where} holds no JSON object.", remedy='Write {"name": value, …}.')
    return {str(key): item for key, item in found.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _written(file: Path) -> dict[str, Any]:
    """What a run's YAML says; paths in it are seen from the file."""
    from phoundry.specs import yaml
    from phoundry.specs.flow_run import FlowRunSpec

    spec = yaml.load(file, FlowRunSpec).seen_from(file.absolute().parent)
    return spec.model_dump(exclude_unset=True, exclude={"schema_"})
