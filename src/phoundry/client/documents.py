"""Reading the files of `apply` as the user sees them: paths from the file's own folder, secrets
from the environment, what is referred to before what refers to it."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from phoundry.client.checking import checked
from phoundry.client.paths import located
from phoundry.errors import Fault, InvalidInput, NotFound, UsageError, nearest
from phoundry.specs.batch import BatchJobSpec
from phoundry.specs.documents import Document, Text, read_documents
from phoundry.specs.names import split_version
from phoundry.specs.project import CHAT, Project

SUFFIXES = (".yaml", ".yml")
FLOW_FILES = ("flow.dag.yaml", "flow.dag.yml")
STDIN = "-"
_VARIABLE = re.compile(r"^\$\{(\w+)\}$")


def read_files(
    files: Sequence[Path | str],
    *,
    settings: Mapping[str, str] | None = None,
    name: str | None = None,
    stdin: Callable[[], str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> list[Document]:
    """Every document of `files`, in the order in which they can be made.

    Args:
        files: YAML files, folders (their `*.yaml` and `*.yml`), or `-` for `stdin`.
        settings, name: see `specs.documents.read_documents`.

    Raises:
        NotFound: no such file.
        InvalidInput: every fault, with file and line.
    """
    texts = [text for file in files for text in _texts(file, stdin)]
    documents = read_documents(texts, settings=settings, name=name)
    faults: list[Fault] = []
    placed = [_placed(document, environ, faults) for document in documents]
    ordered = in_order(placed, faults)
    if faults:
        names = ", ".join(dict.fromkeys(text.name for text in texts))
        raise InvalidInput(f"{names} cannot be applied.", faults=faults)
    return ordered


def declared(values: Mapping[str, Any], folder: Path | None = None) -> Document:
    """A project from plain values, as if they stood in a file in `folder` (here, unless given).

    Raises:
        InvalidInput: every fault.
    """
    spec = checked(Project, values, "The project")
    faults: list[Fault] = []
    document = Document("project", spec, "data.source", folder or Path.cwd())
    placed = _placed(document, os.environ, faults)
    if faults:
        raise NotFound(f"{faults[0].reason[0].upper()}{faults[0].reason[1:]}.")
    return placed


def _texts(file: Path | str, stdin: Callable[[], str] | None) -> list[Text]:
    if str(file) == STDIN:
        return [Text("standard input", stdin() if stdin else "", Path.cwd())]
    path = Path(file).expanduser()
    if path.is_dir():
        inside = sorted(item for item in path.iterdir() if item.suffix in SUFFIXES)
        found = [item for item in inside if item.name not in FLOW_FILES]
        if not found:
            raise NotFound(f"The folder {path} holds no .yaml file.")
        return [_text(item) for item in found]
    return [_text(path)]


def _text(path: Path) -> Text:
    try:
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        near = nearest(path.name, _names_beside(path))
        hint = f"Did you mean {', '.join(near)}?" if near else None
        raise NotFound(f"There is no file {path}.", remedy=hint) from None
    except UnicodeDecodeError as error:
        fault = Fault(str(path), f"not UTF-8 at byte {error.start}")
        raise InvalidInput(f"{path} cannot be read.", faults=[fault]) from None
    return Text(str(path), content, path.absolute().parent)


def _names_beside(path: Path) -> list[str]:
    return [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []


def _placed(document: Document, environ: Mapping[str, str], faults: list[Fault]) -> Document:
    """The document with its paths made absolute and its secrets filled in."""
    spec, folder = document.spec, document.folder
    if document.kind == "project":
        return document.with_spec(**_placed_project(document, faults))
    if document.kind == "data":
        return document.with_spec(source=_source(spec.source, document, faults))
    if document.kind == "batch":
        return document.with_spec(**_placed_batch(document))
    if document.kind in ("job", "deployment"):
        if document.kind == "deployment" and spec.flow is not None:
            there = (folder / Path(spec.flow).expanduser()).absolute()
            return document.with_spec(flow=os.path.normpath(there))
        return document.with_spec(model=located(spec.model, folder))
    if document.kind == "model" and spec.job is None:
        return document.with_spec(path=os.path.normpath(folder / Path(spec.path).expanduser()))
    if document.kind == "connection":
        secrets = {
            name: _secret(document, name, value.get_secret_value(), environ, faults)
            for name, value in spec.secrets.items()
        }
        return document.with_spec(secrets=secrets)
    return document


def _placed_batch(document: Document) -> dict[str, Any]:
    """A file that is seen from the document's folder; any other input is a data asset's name."""
    spec: BatchJobSpec = document.spec
    path = document.folder / Path(spec.input).expanduser()
    changes: dict[str, Any] = {}
    if path.is_file():
        changes["input"] = os.path.normpath(path)
    if spec.model is not None:
        changes["model"] = located(spec.model, document.folder)
    return changes


def _placed_project(document: Document, faults: list[Fault]) -> dict[str, Any]:
    project: Project = document.spec
    changes: dict[str, Any] = {"model": located(project.model, document.folder)}
    if project.data.source is not None:
        source = _source(project.data.source, document, faults)
        changes["data"] = project.data.model_copy(update={"source": source})
    if project.flow not in (None, CHAT):
        written = Path(str(project.flow)).expanduser()
        changes["flow"] = os.path.normpath(document.folder / written)
    return changes


def _source(source: str, document: Document, faults: list[Fault]) -> str:
    """An absolute path or glob, or the id of a data set on the hub. Adds a fault for neither."""
    from phoundry.data import hub

    path = document.folder / Path(source).expanduser()
    pattern = glob.has_magic(source)
    if path.exists() or (pattern and any(glob.iglob(str(path), recursive=True))):  # noqa: PTH207
        return os.path.normpath(path)
    looks_like_path = pattern or source.startswith((".", "~", "/"))
    if not looks_like_path and hub.is_dataset_id(source):
        return source
    near = nearest(path.name, _names_beside(path))
    hint = f"; did you mean {near[0]}?" if near else ""
    faults.append(Fault(document.where, f"there is no data file {path}{hint}"))
    return source


def _secret(
    document: Document, name: str, value: str, environ: Mapping[str, str], faults: list[Fault]
) -> SecretStr:
    """The value, from the environment where `${VARIABLE}` stands for it."""
    match = _VARIABLE.match(value)
    if match is None:
        return SecretStr(value)
    found = environ.get(match[1])
    if not found:
        reason = f"the variable {match[1]}, named for the secret '{name}', is not set"
        faults.append(Fault(document.where, reason))
    return SecretStr(found or "")


def in_order(documents: Sequence[Document], faults: list[Fault]) -> list[Document]:
    """`documents` with what is referred to first, else as they stand. Adds a fault for a circle."""
    makers = {made: document for document in documents for made in _makes(document)}
    ordered: list[Document] = []
    path: list[Document] = []

    def visit(document: Document) -> None:
        if document in ordered:
            return
        if document in path:
            circle = " → ".join(f"{each.kind} '{each.name}'" for each in [*path, document])
            faults.append(Fault(document.where, f"these refer to one another: {circle}"))
            return
        path.append(document)
        for need in needs_of(document):
            maker = makers.get(need)
            if maker is not None and maker is not document:
                visit(maker)
        path.pop()
        ordered.append(document)

    for document in documents:
        visit(document)
    return ordered


def _makes(document: Document) -> list[tuple[str, str]]:
    if document.kind != "project":
        return [(document.kind, document.name)]
    project: Project = document.spec
    made = [("model", project.name), ("connection", project.name)]
    made.append(("endpoint", project.endpoint_name))
    return made if project.data.asset else [*made, ("data", project.name)]


def needs_of(document: Document) -> list[tuple[str, str]]:
    """Kind and name of what the document refers to."""
    spec = document.spec
    found: list[tuple[str, str | None]] = []
    if document.kind == "project":
        found = [("data", spec.data.asset), ("model", spec.model)]
    elif document.kind == "job":
        found = [("data", spec.training_data), ("data", spec.validation_data)]
        found.append(("model", spec.model))
    elif document.kind == "batch":
        found = [("data", spec.input), ("model", spec.model)]
        found.append(("endpoint", (spec.endpoint or "").partition("/")[0]))
    elif document.kind == "model":
        found = [("job", spec.job)]
    elif document.kind == "deployment":
        found = [("endpoint", spec.endpoint_name), ("model", spec.model)]
    return [(kind, split_version(name)[0]) for kind, name in found if name]


def chosen_files(files: Sequence[str] | None) -> list[str]:
    """The files that were named, or the `phoundry.yaml` of this folder. Raises UsageError."""
    if files:
        return list(files)
    for name in ("phoundry.yaml", "phoundry.yml"):
        if Path(name).is_file():
            return [name]
    raise UsageError(
        "There is no phoundry.yaml in this folder, and no file is named.",
        remedy="Write phoundry apply -f FILE.",
    )
