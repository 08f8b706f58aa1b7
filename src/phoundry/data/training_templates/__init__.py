"""Training templates: known chat templates with generation tags put into them.

A file holds, for the templates whose hashes it names, the edits that make the training template:
each `find` occurs once in the model's own template and is replaced by `put`. Edits keep what a
template writes as it is, and their tags hold what the model must say after its prompt, up to and
with the token that ends its turn. That this is so is compared at every use (turns.py).
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from phoundry.errors import PhoundryError


def training_template(source: str) -> str | None:
    """The training template for a model's own template, or None where none is known for it."""
    edits = _known().get(template_hash(source))
    if edits is None:
        return None
    made = normalised(source)
    for find, put in edits:
        if made.count(find) != 1:
            raise PhoundryError(f"An edit of a training template does not fit: {find!r}.")
        made = made.replace(find, put)
    return made


def template_hash(source: str) -> str:
    """SHA-256 of the template without differences that Jinja doesn't see."""
    return hashlib.sha256(normalised(source).encode()).hexdigest()


def normalised(source: str) -> str:
    """With line ends of one kind and none at the end, as Jinja reads it."""
    return source.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")


@cache
def _known() -> Mapping[str, list[tuple[str, str]]]:
    known: dict[str, list[tuple[str, str]]] = {}
    for file in sorted(files(__package__ or "").iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".toml"):
            continue
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        edits = [(edit["find"], edit["put"]) for edit in content["edits"]]
        known |= dict.fromkeys(content["templates"].values(), edits)
    return known
