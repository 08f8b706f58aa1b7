"""The documents that `phoundry apply` takes: our project beside Azure ML's YAML v2.

What a document is, its `$schema`, its `type` or its keys tell. Every fault of every document of
every file comes at once, with file and line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import AliasChoices, Field, ValidationError

from phoundry.errors import Fault, InvalidInput, UsageError, nearest
from phoundry.specs import yaml
from phoundry.specs.base import Spec
from phoundry.specs.batch import BatchJobSpec
from phoundry.specs.connection import ConnectionSpec
from phoundry.specs.connection_file import connection_values
from phoundry.specs.connection_types import KINDS as CONNECTION_KINDS
from phoundry.specs.data import DataFormat
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec
from phoundry.specs.job import FineTuningJobSpec, Input
from phoundry.specs.names import AssetName
from phoundry.specs.plan import Kind
from phoundry.specs.project import Project

_JOB = re.compile(r"^(?:azureml:)+//jobs/([^/]+)/")


class DataDocument(Spec):
    """Azure ML's data asset (`type: uri_file`), with what `phoundry data create` takes beside."""

    schema_: str | None = Field(default=None, alias="$schema")
    name: AssetName
    version: str | int | None = Field(
        default=None, description="Recorded in the file alone: versions are counted here"
    )
    type: Literal["uri_file", "uri_folder", "data"] = "uri_file"
    source: str = Field(
        validation_alias=AliasChoices("path", "source"),
        serialization_alias="path",
        min_length=1,
        description="A file, a folder, a glob (seen from this file) or a data set of the hub",
    )
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    config: str | None = None
    split: str | None = None
    format: DataFormat | None = None
    mapping: dict[str, str] = Field(
        default_factory=dict[str, str],
        validation_alias=AliasChoices("map", "mapping"),
        serialization_alias="map",
    )
    skip_bad: int = Field(default=0, ge=0)
    test_size: float = Field(default=0.2, ge=0, lt=1)
    seed: int = 42


class ModelDocument(Spec):
    """Azure ML's model asset: a completed job's output, or a model trained elsewhere."""

    schema_: str | None = Field(default=None, alias="$schema")
    name: AssetName
    version: str | int | None = Field(
        default=None, description="Recorded in the file alone: versions are counted here"
    )
    type: Literal["mlflow_model", "custom_model"] = "mlflow_model"
    path: Input = Field(
        description="A folder, an adapter, a .gguf file, or azureml://jobs/JOB/outputs/…"
    )
    base: str | None = Field(default=None, description="Base model of an adapter")
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])

    @property
    def job(self) -> str | None:
        """The job that `azureml://jobs/JOB/outputs/…` names."""
        match = _JOB.match(self.path)
        return match[1] if match else None


MODELS: dict[Kind, type[Spec]] = {
    "project": Project,
    "data": DataDocument,
    "job": FineTuningJobSpec,
    "batch": BatchJobSpec,
    "model": ModelDocument,
    "endpoint": EndpointSpec,
    "deployment": DeploymentSpec,
    "connection": ConnectionSpec,
}
# A part of the file's name in `$schema`.
_SCHEMAS: dict[str, Kind] = {
    "finetuningjob": "job",
    "onlinedeployment": "deployment",
    "onlineendpoint": "endpoint",
    "connection": "connection",
    "/data.": "data",
    "/model.": "model",
    "phoundry": "project",
}
_TYPES: dict[str, Kind] = {
    "finetuning": "job",
    "batch": "batch",
    "uri_file": "data",
    "uri_folder": "data",
    "data": "data",
    "mlflow_model": "model",
    "custom_model": "model",
    **dict.fromkeys(CONNECTION_KINDS, "connection"),
}
# Keys that one kind alone has, the surest first.
_KEYS: tuple[tuple[str, Kind], ...] = (
    ("endpoint_name", "deployment"),
    ("training_data", "job"),
    ("secrets", "connection"),
    ("configs", "connection"),
    ("finetune", "project"),
    ("flow", "project"),
    ("data", "project"),
    ("traffic", "endpoint"),
    ("auth_mode", "endpoint"),
    ("source", "data"),
)


@dataclass(frozen=True, slots=True)
class Document:
    """One document. `folder` is what its relative paths are seen from."""

    kind: Kind
    spec: Any  # a model of MODELS[kind]
    where: str  # file:line
    folder: Path

    @property
    def name(self) -> str:
        name = str(self.spec.name)
        return f"{self.spec.endpoint_name}/{name}" if self.kind == "deployment" else name

    def with_spec(self, **changes: Any) -> Document:
        return replace(self, spec=self.spec.model_copy(update=changes))


@dataclass(frozen=True, slots=True)
class Text:
    """A file's content. `name` is for messages."""

    name: str
    content: str
    folder: Path


def read_documents(
    texts: Sequence[Text],
    *,
    settings: Mapping[str, str] | None = None,
    name: str | None = None,
) -> list[Document]:
    """Every document of every file.

    Args:
        settings: `a.b` to a YAML value, written over the one project (or the one document).
        name: written over its name.

    Raises:
        InvalidInput: every fault of all of them.
        UsageError: there is no one document that `settings` or `name` are for.
    """
    faults: list[Fault] = []
    raw: list[tuple[Text, Any]] = []
    for text in texts:
        try:
            raw.extend((text, found) for found in yaml.load_documents(text.content, text.name))
        except InvalidInput as error:
            faults += error.faults or [Fault(text.name, error.message)]
    if not raw and not faults:
        raise InvalidInput(
            f"{', '.join(text.name for text in texts) or 'The folder'} declares nothing.",
            remedy="A project has at least name, data and model: see docs/how-to/apply.md.",
        )
    kinds: list[Kind | None] = [_kind(document) for _, document in raw]
    if settings or name:
        _override(_target([document for _, document in raw], kinds), settings or {}, name)
    found: list[Document] = []
    for (text, document), kind in zip(raw, kinds, strict=True):
        faults += _unclear(text, document, kind)
        if kind is not None:
            found += _read(text, document, kind, faults)
    faults += _twice(found)
    if faults:
        names = ", ".join(dict.fromkeys(text.name for text in texts))
        raise InvalidInput(f"{names} cannot be applied.", faults=faults)
    return found


def _kind(document: Any) -> Kind | None:
    schema = str(document.get("$schema", "")).lower().rpartition("/")
    last = f"/{schema[2]}"
    for part, kind in _SCHEMAS.items():
        if part in last:
            return kind
    if kind := _TYPES.get(str(document.get("type", "")).lower()):
        return kind
    return next((kind for key, kind in _KEYS if key in document), None)


def _unclear(text: Text, document: Any, kind: Kind | None) -> list[Fault]:
    if kind is not None:
        return []
    line = document.lc.line + 1
    keys = ", ".join(str(key) for key in document) or "none"
    if near := nearest(str(document.get("type", "")), _TYPES) if "type" in document else []:
        return [Fault(f"{text.name}:{line}", f"unknown type; did you mean {near[0]}?")]
    reason = f"what this document is cannot be told from its keys ({keys})"
    return [Fault(f"{text.name}:{line}", f"{reason}; add `type`, or `data` and `model`")]


def _read(text: Text, document: Any, kind: Kind, faults: list[Fault]) -> list[Document]:
    """The document, or nothing and its faults."""
    where = f"{text.name}:{document.lc.line + 1}"
    model = MODELS[kind]
    faults += model.more_faults(text.name, document)
    try:
        values = connection_values(text.name, document) if kind == "connection" else document
        spec = model.model_validate(values)
    except ValidationError as error:
        quoted = kind != "connection"
        faults += yaml.faults_of(text.name, document, error, model, values=quoted)
    except InvalidInput as error:
        faults += error.faults
    else:
        if kind in ("job", "batch") and not spec.name:  # pyright: ignore[reportAttributeAccessIssue]
            faults.append(Fault(where, "the key 'name' is missing: a job is created once by it"))
        return [Document(kind, spec, where, text.folder)]
    return []


def _twice(documents: Sequence[Document]) -> list[Fault]:
    first: dict[tuple[Kind, str], str] = {}
    faults: list[Fault] = []
    for document in documents:
        at = first.setdefault((document.kind, document.name), document.where)
        if at != document.where:
            reason = f"the {document.kind} '{document.name}' is declared at {at} already"
            faults.append(Fault(document.where, reason))
    return faults


def _target(documents: Sequence[Any], kinds: Sequence[Kind | None]) -> Any:
    projects = [found for found, kind in zip(documents, kinds, strict=True) if kind == "project"]
    chosen = projects or list(documents)
    if len(chosen) != 1:
        raise UsageError(
            f"--set and -n are for one document; there are {len(chosen)}.",
            remedy="Give one file with -f, or change the documents themselves.",
        )
    return chosen[0]


def _override(document: Any, settings: Mapping[str, str], name: str | None) -> None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    parse = cast(Callable[[str], Any], YAML(typ="safe").load)  # pyright: ignore[reportUnknownMemberType]
    values: dict[str, Any] = {}
    for key, text in settings.items():
        try:
            values[key] = parse(text) if text else ""
        except YAMLError:
            values[key] = text
    for key, value in {**values, **({"name": name} if name else {})}.items():
        *parents, last = key.split(".")
        place = document
        for parent in parents:
            if not hasattr(place.get(parent), "keys"):
                place[parent] = {}
            place = place[parent]
        place[last] = value
