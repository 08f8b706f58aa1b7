"""Every fault of a flow at once, with its place, before anything of it runs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from phoundry.errors import PhoundryError
from phoundry.flows.check.draft import Body, Draft, make_draft
from phoundry.flows.check.finding import Finding, Notes, Report
from phoundry.flows.check.graph import check_graph
from phoundry.flows.check.needs import Known, check_needs
from phoundry.flows.check.requirements import check_requirements
from phoundry.flows.check.sources import check_package, check_tool
from phoundry.flows.check.structure import check_structure
from phoundry.flows.check.templates import check_template
from phoundry.flows.document import PROMPTY, Document, find_file, read_document
from phoundry.flows.errors import FlowError
from phoundry.flows.signature import Signature

COLUMN = re.compile(r"line (\d+), column (\d+)")


def check_flow(path: Path | str, known: Known | None = None) -> Report:
    """What is wrong with the flow in the folder or file `path`. No code of it runs.

    Raises:
        NotFound: there is no flow at `path`.
    """
    given = Path(path)
    try:
        file = find_file(given)
    except FlowError as error:  # a folder with flows of two kinds
        return Report(given, "unknown", (finding_of(error, given.name),))
    known = known or Known()
    shown = given if given.is_file() else given / file.name
    if file.suffix == PROMPTY:
        from phoundry.flows.check.prompty import check_prompty

        told = check_prompty(file, known)
        return Report(shown, "prompty", _sorted([*told, *_of_loader(file, None, told)]))
    try:
        document = read_document(file)
    except FlowError as error:
        return Report(shown, "unknown", (finding_of(error, file.name),))
    if "entry" in document.data:
        from phoundry.flows.check.flex import check_flex

        kind, told = "flex", check_flex(document, known)
    else:
        kind, told = "dag", _check_dag(document, known)
    return Report(shown, kind, _sorted([*told, *_of_loader(file, document, told)]))


def _check_dag(document: Document, known: Known) -> list[Finding]:
    notes = Notes(document)
    draft = make_draft(document)
    check_structure(draft, notes)
    signatures: dict[str, Signature] = {}
    for body in draft.bodies:
        notes.lenient = not body.chosen
        signature = _check_body(draft, notes, body)
        if signature and body.chosen:
            signatures[body.name] = signature
    notes.lenient = False
    check_graph(draft, notes)
    check_needs(draft, notes, signatures, known)
    check_requirements(document.file.parent, notes)
    return notes.findings


def _check_body(draft: Draft, notes: Notes, body: Body) -> Signature | None:
    """The file behind a node; the tool's signature for a python node."""
    if body.data.get("source") is None:
        notes.error(
            "UserError",
            f"Node {body.name} does not have source defined.",
            *body.at,
            node=body.name,
            remedy="Write `source: {type: code, path: FILE}`.",
        )
        return None
    if body.source.get("type") not in (None, "code"):
        check_package(notes, body)
        return None
    if body.type in ("prompt", "llm"):
        check_template(draft, notes, body)
    elif body.type == "python":
        return check_tool(draft, notes, body)
    return None


def _of_loader(file: Path, document: Document | None, told: list[Finding]) -> list[Finding]:
    """What only the loader finds. It goes by the same files, so that a flow which it refuses is
    never called valid."""
    from phoundry.flows.load import load_flow

    try:
        load_flow(file)
    except FlowError as error:
        found = [finding_of(item, file.name, document) for item in (error, *error.others)]
        return [item for item in found if not _covered(item, told)]
    except PhoundryError as error:
        return [Finding("error", error.code, error.message, file.name)]
    return []


def _covered(finding: Finding, told: Iterable[Finding]) -> bool:
    """Whether the same was told already, mostly at a more exact place."""
    return any(
        item.severity == "error"
        and item.code == finding.code
        and (
            finding.node is None
            or item.node in (None, finding.node)
            or f"'{finding.node}'" in item.message
        )
        for item in told
    )


def finding_of(error: FlowError, file: str, document: Document | None = None) -> Finding:
    """An error of the loader as a finding; its place is `file:line`, sometimes in the message."""
    name, _, text = (error.where or file).partition(":")
    line = int(text) if text.isdigit() else 0
    column = 0
    message = error.message
    if found := COLUMN.findall(message):
        line, column = int(found[-1][0]), int(found[-1][1])  # the context's comes before it
    elif document is not None and line:
        at = [place for place, number in document.lines.items() if number == line]
        column = min((document.columns.get(place, 0) for place in at), default=0)
    node = re.search(r"(?:Tool load failed in|[Nn]ode) '([^']+)'", message)
    return Finding(
        "error",
        error.code,
        message,
        name,
        line,
        column,
        remedy=error.remedy,
        node=node[1] if node else None,
    )


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda item: (item.file, item.line, item.column)))
