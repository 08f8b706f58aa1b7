"""What a data set's card may name: files of its own, and nothing else.

A card is a stranger's text, and `datasets` follows whatever it names: other addresses, and files
anywhere on this machine. So the card is looked at first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, cast

from phoundry.errors import InvalidInput

_PLACES = ("data_files", "data_dir")


def check_cards(name: str, folder: Path) -> None:
    """Nothing, where the cards in `folder` name only files inside of it.

    Raises:
        InvalidInput: a card cannot be read, or names an address or a place outside.
    """
    for place in _places(_configs(name, folder)):
        path = PurePosixPath(place)
        foreign = "://" in place or "::" in place or "\\" in place or "\0" in place
        if foreign or path.is_absolute() or ".." in path.parts or place.startswith("~"):
            raise outside(name, place)


def outside(name: str, place: str) -> InvalidInput:
    return InvalidInput(
        f"The data set '{name}' names '{place}', which is not one of its own files.",
        remedy="Phoundry reads only a data set's own files. Download that one yourself if you "
        "trust it, and name the file.",
    )


def _configs(name: str, folder: Path) -> list[Any]:
    """The configurations of README.md and of the YAML file beside it, as `datasets` reads them."""
    import yaml
    from huggingface_hub import DatasetCard

    readme, beside = folder / "README.md", folder / ".huggingface.yaml"
    card: Any = {}
    more: Any = None
    try:
        if readme.is_file():
            card = DatasetCard.load(readme).data.to_dict()
        if beside.is_file():
            more = yaml.safe_load(beside.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InvalidInput(
            f"The card of the data set '{name}' cannot be read: {reason}.",
            remedy="Tell its owner; or download its data files and name them.",
        ) from None
    found: list[Any] = []
    for each in (card, more):
        if isinstance(each, dict):
            configs = cast("dict[str, Any]", each).get("configs")
            found += cast("list[Any]", configs) if isinstance(configs, list) else [configs]
    return found


def _places(configs: list[Any]) -> Iterator[str]:
    for config in configs:
        if isinstance(config, dict):
            for key in _PLACES:
                yield from _texts(cast("dict[str, Any]", config).get(key))


def _texts(value: Any) -> Iterator[str]:
    """Every text in `value`, however deep: patterns stand alone, in lists, and by split."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(list(cast("dict[Any, Any]", value).values()))
    elif isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from _texts(each)
