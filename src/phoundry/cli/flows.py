"""`phoundry flow`"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoundry.cli.arguments import assignments
from phoundry.cli.commands import noun, verb
from phoundry.cli.output import Format, Output, Printer
from phoundry.errors import InvalidInput, NotFound, PhoundryError, UsageError

if TYPE_CHECKING:
    from phoundry.specs.flow import FlowResult

app = noun("Prompt flow folders.")
Folder = Annotated[Path, typer.Argument(metavar="PATH", help="The flow's folder or file.")]


@verb(app, "init", example="phoundry flow init my-chat --connection faq")
def init(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A new or empty folder.")],
    template: Annotated[str, typer.Option(help="chat or python.")] = "chat",
    connection: Annotated[
        str | None, typer.Option(help="Connection its model is called by.")
    ] = None,
    output: Output = Format.table,
) -> None:
    """Make a flow folder that Prompt flow could run, too."""
    from phoundry.client import Client

    out = Printer(output)
    folder = Client().flows.init(path, template=template, connection=connection)
    files = sorted(file.name for file in folder.iterdir())
    out.value({"path": str(folder), "files": files})
    out.suggest(f"phoundry chat {path}" if template == "chat" else f"phoundry flow test {path}")


@verb(
    app,
    "test",
    example=(
        'phoundry flow test my-flow --inputs question="When is a permit needed?"\n'
        "phoundry flow test my-flow --inputs inputs.json --connections ask.connection=faq -o json"
    ),
)
def run_once(
    path: Folder,
    inputs: Annotated[
        list[str] | None, typer.Option(help="name=value, or a JSON file with all of them.")
    ] = None,
    connections: Annotated[
        list[str] | None, typer.Option(help="node.input=connection; remembered.")
    ] = None,
    variant: Annotated[str | None, typer.Option(help="${node.variant} to run with.")] = None,
    environment_variables: Annotated[
        list[str] | None, typer.Option(help="name=value, set while the flow runs.")
    ] = None,
    output: Output = Format.table,
) -> None:
    """Run a flow once.

    With -o json standard output is one document: {"status", "output", "nodes", "metrics", "error"}.
    """
    from phoundry.client import Client

    out = Printer(output)
    chosen = assignments(connections, "--connections")
    given = read_inputs(inputs or [])
    os.environ.update(assignments(environment_variables, "--environment-variables"))
    try:
        result = Client().flows.run(path, given, overrides=chosen, variant=variant)
    except UsageError:
        raise
    except PhoundryError as error:
        if out.talks:
            raise
        result = failed(error)  # one document on standard output, whatever went wrong
    _print(out, result)
    if result.status == "Failed":
        raise typer.Exit(1)


def failed(error: PhoundryError) -> FlowResult:
    """The result of a flow that did not get as far as running."""
    from phoundry.specs.flow import FlowResult

    body = error.to_dict()
    codes: list[str] = body.get("codes") or [error.code]
    told = {"code": body["code"], "codes": codes, "message": str(error)}
    return FlowResult(status="Failed", error=told)


def _print(out: Printer, result: FlowResult) -> None:
    if not out.talks:
        out.value(result.model_dump(mode="json"))
        return
    for node, status in result.nodes.items():
        out.note(f"{status:<10} {node}")
    if result.output is not None:
        out.value(result.output)
    if result.metrics:
        out.value(result.metrics)
    if result.error:
        codes = " / ".join(result.error.get("codes") or [result.error.get("code", "")])
        out.note(f"Error: {result.error.get('message', '')}\n  ({codes})")


def read_inputs(words: list[str]) -> dict[str, Any]:
    """Inputs of `name=value` words and JSON files; a later one wins.

    Raises:
        UsageError: a word that is neither.
        NotFound, InvalidInput: a file that is missing or holds no JSON object.
    """
    values: dict[str, Any] = {}
    for word in words:
        if word.endswith((".json", ".jsonl")) and "=" not in word:
            values |= _read_file(Path(word))
        else:
            values |= assignments([word], "--inputs")
    return values


def _read_file(path: Path) -> dict[str, Any]:
    import json

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder, not a file of inputs.") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 (byte {error.start}).") from None
    first = text.strip().splitlines()[0] if path.suffix == ".jsonl" and text.strip() else text
    try:
        value: Any = json.loads(first)
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{path} holds no JSON object.", remedy='Write {"name": value, …}.')
    return {str(key): item for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
