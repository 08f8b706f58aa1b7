"""The finder that answers `import promptflow…` from the table in `names.py`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

from phoundry.flows.provided.at_hand import connections_at_hand
from phoundry.flows.provided.names import ROOT, TABLE, Names, not_provided

__all__ = ["ROOT", "TABLE", "import_names", "not_provided"]

_HERE = "phoundry.flows.provided."


@contextmanager
def import_names(
    connections: Mapping[str, Mapping[str, Any]] | None = None,
    more: Mapping[str, Names] | None = None,
) -> Generator[None]:
    """Provide the names for the length of the block; what was imported before comes back after.
    `connections` are those that the code may ask for by name. `more` goes over `TABLE`: a room
    above this one names what stands behind a name there, as `package.module:name`."""
    hidden = _take_out()
    finder = _Finder(_merged(more or {}))
    sys.meta_path.insert(0, finder)
    try:
        with connections_at_hand(connections or {}):
            yield
    finally:
        sys.meta_path.remove(finder)
        _take_out()
        sys.modules.update(hidden)


def _take_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name == ROOT or name.startswith(f"{ROOT}.")]
    return {name: sys.modules.pop(name) for name in names}


def _merged(more: Mapping[str, Names]) -> Mapping[str, Names]:
    return {**TABLE, **{name: {**TABLE.get(name, {}), **names} for name, names in more.items()}}


class _Finder:  # by its methods; the classes of importlib.abc take long to import
    def __init__(self, table: Mapping[str, Names]) -> None:
        self._table = table

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != ROOT and not fullname.startswith(f"{ROOT}."):
            return None
        if fullname not in self._table:
            # Not None: the next finder would serve an installed promptflow's own module.
            raise ModuleNotFoundError(not_provided(fullname), name=fullname)
        return ModuleSpec(fullname, cast("Any", self), origin="phoundry", is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name, names = module.__name__, self._table[module.__name__]

        def get(attribute: str) -> Any:
            if attribute in names:
                home, _, other = names[attribute].partition(":")
                place = home if "." in home else _HERE + home
                return getattr(importlib.import_module(place), other or attribute)
            if f"{name}.{attribute}" in self._table:
                return importlib.import_module(f"{name}.{attribute}")
            message = not_provided(f"{name}.{attribute}")
            if attribute.startswith("__"):  # the import system's own questions
                raise AttributeError(message)
            raise ImportError(message, name=f"{name}.{attribute}")

        module.__dict__.update({"__getattr__": get, "__all__": sorted(names)})
