"""What a `requirements.txt` asks for, and how much of it this Python has already.

Lines are pip's: comments, continued lines, `-r` and `-c` of other files; other options are handed
on to it.
Lines of `promptflow…` are left out, because those names are answered here.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from phoundry.flows.errors import InvalidSource

OWN = "promptflow"
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")
_COMMENT = re.compile(r"(^|\s)#.*$")
_NESTED = re.compile(r"^(?:-r|--requirement)[\s=]*(?P<file>\S+)$")
_EDITABLE = re.compile(r"^(?:-e|--editable)[\s=]*(?P<path>\S.*)$")
_ARCHIVES = (".whl", ".zip", ".tar.gz")
_LIMITS = re.compile(r"^(?:-c|--constraint[\s=])\s*(?P<file>(?!\w+://)[^\s=]\S*)$")
# Of a base install or of pip, which any Python that can make an environment has.
_PARSERS = ("packaging.requirements", "pip._vendor.packaging.requirements")


@dataclass(frozen=True, slots=True)
class Requirements:
    """`missing` are the lines that this Python does not satisfy, `present` those that it does, and
    the constraints of the user's own; `options` are lines for pip."""

    missing: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def read_requirements(file: Path) -> Requirements:
    """What `file` asks for; nothing where there is no such file.

    Raises:
        InvalidSource: it is no UTF-8, or names a file that is not there.
    """
    missing: list[str] = []
    present: list[str] = []
    options: list[str] = []
    for line in lines_of(file):
        if limits := _LIMITS.match(line):
            there = lines_of(Path(limits["file"]), frozenset((file.resolve(),)))
            present += [each for each in there if each[0] != "-" and not is_own(each)]
        elif _EDITABLE.match(line):
            missing.append(line)
        elif line.startswith("-"):
            options.append(line)
        elif not is_own(line):
            applies, there = _state(line)
            if applies:
                (present if there else missing).append(line)
    return Requirements(tuple(missing), tuple(present), tuple(options))


def local_paths(wanted: Requirements) -> list[tuple[str, bool]]:
    """The files and folders of this machine that lines of `wanted` install, such as `./tool`, and
    whether as editable ones: these are used where they are."""
    found: list[tuple[str, bool]] = []
    for line in wanted.missing:
        editable = _EDITABLE.match(line)
        text = editable["path"] if editable else line.partition(" @ ")[2] or line
        text = re.split(r"\s*;|\s+--", text)[0].strip().strip("\"'")
        text = re.sub(r"\[[^\[\]]*\]$", "", text)  # extras
        local = text.startswith("file:")
        path = unquote(text.removeprefix("file:").removeprefix("//")) if local else text
        here = local or editable or text.startswith(".") or "/" in text or text.endswith(_ARCHIVES)
        if here and "://" not in path and "+" not in path.partition(":")[0]:
            found.append((path, bool(editable)))
    return found


def asks_for_more(file: Path) -> bool:
    """Whether `file` has any line but those that are answered here; quick, and without parsing."""
    return any(not is_own(line) for line in lines_of(file))


def is_own(line: str) -> bool:
    name = _NAME.match(line)
    return bool(name) and re.sub(r"[._]+", "-", line[: name.end()]).lower().startswith(OWN)


def lines_of(file: Path, seen: frozenset[Path] = frozenset()) -> Iterator[str]:
    """The lines of `file` and of those that it names with `-r`, without comments."""
    if not file.is_file():
        if not seen:
            return
        raise InvalidSource(
            f"There is no file {file.name}, which a requirements file names.",
            remedy=f"Make it, or take the line out. It was looked for at {file}.",
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSource(f"{file} is not UTF-8 (byte {error.start}).") from None
    for raw in text.replace("\\\n", " ").splitlines():
        line = _COMMENT.sub("", raw).strip()
        nested = _NESTED.match(line)
        if nested is None:
            limits = _LIMITS.match(line)
            if limits is not None:  # pip would look for it beside the file that it is given
                yield f"-c {(file.parent / limits['file']).resolve()}"
            elif line:
                yield line
            continue
        other = (file.parent / nested["file"]).resolve()
        if other not in seen and other != file.resolve():
            yield from lines_of(other, seen | {file.resolve()})


def _state(line: str) -> tuple[bool, bool]:
    """Whether `line` is for this Python at all, and whether it has it."""
    from importlib.metadata import PackageNotFoundError, version

    name = _NAME.match(line)
    requirement = _parsed(line)
    if name is None or requirement is None or requirement.url:
        return True, False  # an address, a path, or something that only pip can judge
    if requirement.marker is not None and not requirement.marker.evaluate():
        return False, False
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return True, False
    # What an extra stands for is not looked into: pip knows.
    return True, not requirement.extras and requirement.specifier.contains(found, prereleases=True)


def _parsed(line: str) -> Any:
    """A `packaging` Requirement; None for a line that is none, or where nothing can read it."""
    for module in _PARSERS:
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        try:
            return found.Requirement(re.split(r"\s--hash[=\s]", line)[0].strip())
        except found.InvalidRequirement:
            return None
    return None
