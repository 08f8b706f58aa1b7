"""`phoundry flow test`: one run, and one document about it whatever happens."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoundry.cli.arguments import assignments
from phoundry.cli.commands import Command, example_text
from phoundry.cli.flow_inputs import read_inputs
from phoundry.cli.flow_result import in_words
from phoundry.cli.output import Format, Output, Printer, chosen_format
from phoundry.cli.screen import echo
from phoundry.errors import PhoundryError, UsageError

if TYPE_CHECKING:
    from phoundry.specs.flow import FlowResult

EXAMPLE = (
    'phoundry flow test my-flow --inputs question="When is a permit needed?"\n'
    "phoundry flow test my-flow --inputs inputs.json --connections ask.connection=faq -o json\n"
    "phoundry flow test my-flow --node ask --inputs question=Hi\n"
    "phoundry flow test my-flow --interactive"
)
MORE = (
    "With -o json standard output is one document, whatever happens:\n"
    '{"status", "output", "nodes", "metrics", "error": null | {"code", "codes", "message"}}.\n'
    "Exit codes: 0 completed, 1 failed, 2 the call itself is wrong."
)


class OneDocument(Command):
    """A command whose failed parsing is a result on standard output, too."""

    def make_context(
        self, info_name: Any, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        chosen = chosen_format(args)
        if chosen is Format.table:
            return super().make_context(info_name, args, parent, **extra)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except (UsageError, typer.TyperException) as error:
            Printer(chosen).value(failed(error))
            raise typer.Exit(2) from None


def run_once(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The flow's folder or file.")],
    inputs: Annotated[
        list[str] | None, typer.Option(help="name=value, or a JSON file with all of them.")
    ] = None,
    init: Annotated[
        list[str] | None, typer.Option(help="The same for the class of a flex flow.")
    ] = None,
    node: Annotated[str | None, typer.Option(help="Run this node alone.")] = None,
    variant: Annotated[str | None, typer.Option(help="${node.variant} to run with.")] = None,
    connections: Annotated[
        list[str] | None, typer.Option(help="node.input=connection; remembered.")
    ] = None,
    environment_variables: Annotated[
        list[str] | None, typer.Option(help="name=value, set while the flow runs.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that the run may take.", min=0.1)] = 600.0,
    stream_output: Annotated[
        bool, typer.Option("--stream-output", help="Show a chat's answer while it comes.")
    ] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Chat with the flow in the terminal.")
    ] = False,
    ui: Annotated[bool, typer.Option("--ui", help="Open a page to try the flow on.")] = False,
    detail: Annotated[
        Path | None, typer.Option(help="Write the result and what was printed to this file.")
    ] = None,
    output: Output = Format.table,
) -> None:
    """Run a flow once."""
    out = Printer(output)
    if interactive or ui:
        with _one_document(out):
            if not out.talks:
                told = "--interactive and --ui print no document."
                raise UsageError(told, remedy="Leave out -o.")
            given = {"inputs": inputs, "node": node, "variant": variant, "init": init}
            otherwise(path, interactive, connections, environment_variables, given)
        return
    with _one_document(out):
        if detail is not None and detail.is_dir():
            raise UsageError(f"--detail {detail} is a folder.", remedy="Name a file in it.")
        if stream_output and not out.talks:
            raise UsageError("--stream-output and -o json exclude each other.")
        result, log = once(
            path,
            inputs=inputs,
            init=init,
            node=node,
            variant=variant,
            connections=connections,
            environment_variables=environment_variables,
            timeout=timeout,
            stream=stream_output,
        )
        if detail is not None:
            write_detail(detail, result, log)
        _print(out, result, log, shown=stream_output)
    if result["status"] == "Failed":
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    app.command("test", cls=OneDocument, epilog=example_text(EXAMPLE, MORE))(run_once)


def once(
    path: Path,
    *,
    inputs: list[str] | None,
    init: list[str] | None,
    node: str | None,
    variant: str | None,
    connections: list[str] | None,
    environment_variables: list[str] | None,
    timeout: float = 600.0,
    stream: bool = False,
) -> tuple[dict[str, Any], str]:
    """The result of one run, and what the flow printed; with `stream` the answer is shown as it
    comes. The words are those of a command line.

    Raises:
        UsageError, NotFound, InvalidInput: a word or a file that is wrong.
        NotFound, FlowError: no flow there, or a faulty one.
    """
    overrides = assignments(connections, "--connections")
    given = read_inputs(inputs or [])
    started = read_inputs(init or [], "--init")
    variables = assignments(environment_variables, "--environment-variables")
    from phoundry.client import Client
    from phoundry.client.waiting import on_stop

    flows = Client().flows
    if sys.stderr.isatty():  # installing packages takes long; a program that calls us waits anyway
        flows.tell = lambda line: echo(line, err=True)
    opened = flows.session(
        path, variant=variant, init=started, environment=variables, timeout=timeout
    )
    with opened as session, on_stop(session.close):
        if stream:
            result = _streamed(session.stream(given, overrides=overrides, variant=variant))
        else:
            result = session.run(given, overrides=overrides, variant=variant, node=node)
        flows.keep_connections(session)
        return result.model_dump(mode="json"), session.log()


def _streamed(answers: Iterator[str | FlowResult]) -> FlowResult:
    result: FlowResult | None = None
    for answer in answers:
        if isinstance(answer, str):
            echo(answer, nl=False)
        else:
            result = answer
    echo()
    assert result is not None  # noqa: S101 - a stream ends with its result
    return result


@contextmanager
def _one_document(out: Printer) -> Generator[None]:
    """What goes wrong before a flow runs is a result too, where a document is wanted."""
    try:
        yield
    except PhoundryError as error:
        if out.talks:
            raise
        out.value(failed(error))
        raise typer.Exit(error.exit_code) from None
    except Exception as error:
        if out.talks:
            raise
        traceback.print_exc()  # a fault of ours, which whoever reads the document can't see in it
        from phoundry.flows.errors import UnexpectedError

        out.value(failed(UnexpectedError(f"{type(error).__name__}: {error}")))
        raise typer.Exit(1) from None


def failed(error: PhoundryError | typer.TyperException) -> dict[str, Any]:
    """The result of a flow that did not get as far as running."""
    if isinstance(error, PhoundryError):
        body = error.to_dict()
        told = {"code": body["code"], "codes": body.get("codes") or [error.code]}
        told["message"] = str(error)
    else:
        message = error.format_message()
        told = {"code": "UsageError", "codes": ["UsageError"], "message": message}
    return {"status": "Failed", "output": None, "nodes": {}, "metrics": {}, "error": told}


def _print(out: Printer, result: dict[str, Any], log: str, *, shown: bool) -> None:
    if not out.talks:
        out.value(result)
        return
    for text, narration in in_words(result, log, shown=shown):
        echo(text, err=narration)


def write_detail(file: Path, result: dict[str, Any], log: str) -> None:
    from phoundry.files import write_atomic

    told = {**result, "log": log}
    try:
        write_atomic(file, json.dumps(told, ensure_ascii=False, indent=2) + "\n")
    except OSError as error:
        raise UsageError(
            f"--detail {file} can't be written: {error.strerror}.", remedy="Name another file."
        ) from None


def otherwise(
    path: Path,
    interactive: bool,
    connections: list[str] | None,
    environment_variables: list[str] | None,
    given: Mapping[str, Any],
) -> None:
    """`--interactive` and `--ui`: the commands that chat with a flow and serve its page. `given`
    are other options; those that mean nothing there are told."""
    for name in ("inputs", "node", *(("variant", "init") if interactive else ())):
        if given[name]:
            mode = "--interactive" if interactive else "--ui"
            echo(f"--{name} is taken without effect with {mode}.", err=True)
    if interactive:
        import os

        from phoundry.cli.chat import chat

        os.environ.update(assignments(environment_variables, "--environment-variables"))
        chat(str(path), connections=connections)
        return
    from phoundry.cli.flow_serve import serve

    serve(
        path,
        port=0,
        variant=given["variant"],
        init=given["init"],
        connections=connections,
        environment_variables=environment_variables,
        skip_open_browser=False,
    )
