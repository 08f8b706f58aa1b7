"""YAML in and out. Faults carry file and line, and all of them come at once."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from phoundry.errors import Fault, InvalidInput, NotFound, nearest
from phoundry.specs.base import Spec

SpecT = TypeVar("SpecT", bound=BaseModel)


def load(path: Path, kind: type[SpecT]) -> SpecT:
    """The one document in `path` as `kind`.

    Raises:
        NotFound: no such file.
        InvalidInput: not UTF-8, not YAML, or not a `kind`: every fault with its line.
    """
    document = load_document(path)
    faults = kind.more_faults(str(path), document) if issubclass(kind, Spec) else []
    try:
        spec = kind.model_validate(document)
    except ValidationError as error:
        faults = [*faults_of(str(path), document, error, kind), *faults]
    else:
        if not faults:
            return spec
    raise InvalidInput(f"{path} cannot be used.", faults=faults)


def load_document(path: Path) -> Any:
    """The YAML document in `path` with positions (ruamel round-trip nodes)."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.") from None
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start}"
        raise InvalidInput(f"{path} cannot be read.", faults=[Fault(str(path), reason)]) from None
    documents = load_documents(text, str(path))
    if len(documents) > 1:
        line = documents[1].lc.line + 1
        raise InvalidInput(
            f"{path} holds {len(documents)} documents.",
            faults=[Fault(f"{path}:{line}", "the second document begins here")],
            remedy="Give one document, or use `phoundry apply`, which takes several.",
        )
    if not documents:
        raise no_mapping(str(path))
    return documents[0]


def load_documents(text: str, name: str) -> list[Any]:
    """Every YAML document of `text`, each a mapping with positions; `name` is for messages.

    Documents without content, as between two `---` lines, are passed over.

    Raises:
        InvalidInput: not YAML, or not a mapping, with the line.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    reader = YAML(typ="rt")
    try:
        found: Iterator[Any] = reader.load_all(text)
        documents = [document for document in found if document is not None]
    except MarkedYAMLError as marked:
        error: Any = marked  # ruamel's marks are untyped
        line: int = error.problem_mark.line + 1 if error.problem_mark else 1
        reason: str = _without_values((error.problem or "not YAML").strip())
        raise InvalidInput(
            f"{name} is not YAML.", faults=[Fault(f"{name}:{line}", reason)]
        ) from None
    except YAMLError as error:
        reason = _without_values(str(error).splitlines()[0])
        raise InvalidInput(f"{name} is not YAML: {reason}") from None
    for document in documents:
        if not hasattr(document, "lc") or not hasattr(document, "keys"):
            raise no_mapping(name)
    return documents


def no_mapping(name: str) -> InvalidInput:
    return InvalidInput(f"{name} holds no mapping.", remedy="It must hold `key: value` lines.")


def _without_values(problem: str) -> str:
    """A key that stands twice is reported with both its values, which may be secrets."""
    return problem.partition(" with value ")[0]


def dump(value: Any) -> str:
    """`value` (plain data) as YAML."""
    from ruamel.yaml import YAML

    writer = YAML(typ="safe")
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.representer.add_representer(str, _text)
    stream = StringIO()
    writer.dump(value, stream)
    return stream.getvalue()


def _text(representer: Any, text: str) -> Any:
    """Unicode's line ends (NEL, LS, PS) are folded to a space unless they are escaped."""
    style = '"' if any(end in text for end in ("\x85", "\u2028", "\u2029")) else None
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def line_of(document: Any, location: tuple[str | int, ...]) -> int | None:
    """1-based line of the innermost part of `location` that the document has."""
    line: int | None = None
    node = document
    for part in location:
        marks = getattr(node, "lc", None)
        data: dict[Any, Any] = getattr(marks, "data", None) or {}
        if part not in data:
            break
        line = int(data[part][0]) + 1
        node = node[part]
    return line


def faults_of(
    name: str,
    document: Any,
    error: ValidationError,
    kind: type[BaseModel],
    *,
    values: bool = True,
) -> list[Fault]:
    """What pydantic found wrong with `document` (a `kind`), each with its line in file `name`.

    `values`: what was found may be quoted; not where it may be a secret.
    """
    return [_fault(name, document, detail, kind, values) for detail in error.errors()]


def _fault(name: str, document: Any, detail: Any, kind: type[BaseModel], values: bool) -> Fault:
    location = tuple(detail["loc"])
    line = line_of(document, location)
    where = f"{name}:{line or document.lc.line + 1}"
    key = ".".join(str(part) for part in location)
    if detail["type"] == "extra_forbidden":
        near = nearest(str(location[-1]), _keys(_inside(kind, location[:-1])))
        hint = f"; did you mean {near[0]}?" if near else ""
        return Fault(where, f"unknown key '{key}'{hint}")
    if detail["type"] == "missing":
        return Fault(where, f"the key '{key}' is missing")
    message = str(detail["msg"]).removeprefix("Value error, ")
    said = f"{key}: {message}" if key else message
    found: Any = detail["input"]
    shown = values and isinstance(found, str | int | float | bool | list | type(None))
    return Fault(where, f"{said}, found {found!r}" if shown else said)


def _inside(kind: type[BaseModel], location: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The model at `location` inside `kind`, through optional and annotated types."""
    found: type[BaseModel] | None = kind
    for part in location:
        field = next((f for n, f in _fields(found) if part in (n, *_aliases(n, f))), None)
        found = _model_of(field.annotation) if field else None
    return found


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    models = (_model_of(argument) for argument in get_args(annotation))
    return next((model for model in models if model), None)


def _fields(kind: type[BaseModel] | None) -> list[tuple[str, FieldInfo]]:
    return list(kind.model_fields.items()) if kind else []


def _keys(kind: type[BaseModel] | None) -> list[str]:
    """What a user may write in a `kind`."""
    return [key for name, field in _fields(kind) for key in _aliases(name, field) or [name]]


def _aliases(name: str, field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [choice for choice in alias.choices if isinstance(choice, str)]
    return [alias] if isinstance(alias, str) else []
