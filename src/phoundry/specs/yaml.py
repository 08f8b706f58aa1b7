"""YAML in and out. Faults carry file and line, and all of them come at once."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from phoundry.errors import Fault, InvalidInput, NotFound, nearest

SpecT = TypeVar("SpecT", bound=BaseModel)


def load(path: Path, kind: type[SpecT]) -> SpecT:
    """The one document in `path` as `kind`.

    Raises:
        NotFound: no such file.
        InvalidInput: not UTF-8, not YAML, or not a `kind`: every fault with its line.
    """
    document = load_document(path)
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        faults = [_fault(path, document, detail, kind) for detail in error.errors()]
        raise InvalidInput(f"{path} cannot be used.", faults=faults) from None


def load_document(path: Path) -> Any:
    """The YAML document in `path` with positions (ruamel round-trip nodes)."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.") from None
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start}"
        raise InvalidInput(f"{path} cannot be read.", faults=[Fault(str(path), reason)]) from None
    reader = YAML(typ="rt")
    try:
        document: Any = reader.load(text)
    except MarkedYAMLError as marked:
        error: Any = marked  # ruamel's marks are untyped
        line: int = error.problem_mark.line + 1 if error.problem_mark else 1
        reason: str = _without_values((error.problem or "not YAML").strip())
        fault = Fault(f"{path}:{line}", reason)
        raise InvalidInput(f"{path} is not YAML.", faults=[fault]) from None
    except YAMLError as error:
        reason = _without_values(str(error).splitlines()[0])
        raise InvalidInput(f"{path} is not YAML: {reason}") from None
    if not hasattr(document, "lc") or not hasattr(document, "keys"):
        raise InvalidInput(f"{path} holds no mapping.", remedy="It must hold `key: value` lines.")
    return document


def _without_values(problem: str) -> str:
    """A key that stands twice is reported with both its values, which may be secrets."""
    return problem.partition(" with value ")[0]


def dump(value: Any) -> str:
    """`value` (plain data) as YAML."""
    from ruamel.yaml import YAML

    writer = YAML(typ="safe")
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = StringIO()
    writer.dump(value, stream)
    return stream.getvalue()


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


def _fault(path: Path, document: Any, detail: Any, kind: type[BaseModel]) -> Fault:
    location = tuple(detail["loc"])
    line = line_of(document, location)
    where = f"{path}:{line}" if line else str(path)
    name = ".".join(str(part) for part in location)
    if detail["type"] == "extra_forbidden":
        near = nearest(str(location[-1]), kind.model_fields)
        hint = f"; did you mean {near[0]}?" if near else ""
        return Fault(where, f"unknown key '{name}'{hint}")
    if detail["type"] == "missing":
        return Fault(where, f"the key '{name}' is missing")
    return Fault(where, f"{name}: {detail['msg']}, found {detail['input']!r}")
