"""What no worker uses of the libraries that it imports is left out.

A step of a journey is a process of its own, and most of what a small one does is import. Two
things that nothing here uses cost as much as torch itself: torch's compiler, which the first
optimizer and the first model bring, and SymPy, SciPy and tensors spread over machines, which
transformers imports wherever they are. `begin` is for a worker that compiles nothing:

- the compiler is imported when it is asked for anything but to leave a function alone, which in a
  process that compiles nothing is to do nothing;
- to transformers alone, torch looks as if it were built without distribution (as it is on some
  systems), and SciPy and scikit-learn as if they were not installed.

What is imported already stays, and nothing that is computed changes. Not for a worker that uses
PEFT, which takes distributed torch for granted (`phoundry.models.register`).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, cast

# What transformers asks before it imports: spread tensors (SymPy with them), attention that is
# compiled, SciPy for the losses of models that find things in pictures, and scikit-learn, for
# a way to generate. MLflow brings the last two, and pandas with them.
_ABSENT = (
    "is_torch_distributed_available",
    "is_torch_flex_attn_available",
    "is_scipy_available",
    "is_sklearn_available",
)
_COMPILER = "torch._dynamo"


def begin(*absent: str) -> None:
    """Leave out from now on, in this process. Before it imports torch, transformers or MLflow.

    `absent`: packages that are to look as if they were not installed, to all.
    """
    for name in absent:
        sys.modules.setdefault(name, cast(Any, None))  # how Python spells "there is none"
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())


class Finder(MetaPathFinder):
    """Finds the modules of `LOADERS` where Python does, and loads them our way."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.startswith(_COMPILER + "."):
            return _part_of_the_compiler(fullname)
        ours = LOADERS.get(fullname)
        spec = PathFinder.find_spec(fullname, path, target) if ours else None
        if ours is None or spec is None or spec.loader is None:
            return None
        spec.loader = ours(spec.loader)
        return spec


def _part_of_the_compiler(fullname: str) -> ModuleSpec | None:
    """Its parts are found as ever, but all of it runs before any that does not stand alone."""
    whole = sys.modules[_COMPILER]
    if not isinstance(whole, _Compiler) or fullname.removeprefix(_COMPILER + ".") in _ALONE:
        return None
    whole.run()
    if (part := sys.modules.get(fullname)) is None:
        return None
    # It came with the whole. Python goes on with the spec that the module has, and would run it
    # a second time.
    part.__spec__ = ModuleSpec(fullname, _Loaded(part))
    return part.__spec__


class _Loaded(Loader):
    """Of a module that has run already: nothing is left to do but to give its spec back."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec


class _Wrapped(Loader):
    """Another loader, which answers what `inspect` and `importlib.resources` ask a loader for."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


class _Questions(_Wrapped):
    """transformers' questions about what is installed: those of `_ABSENT` are answered with no."""

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        for name in _ABSENT:
            if hasattr(module, name):
                setattr(module, name, _no)


class _CompilerLoader(_Wrapped):
    """torch's compiler, not yet: its own code runs when it is first asked for more."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return _Compiler(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        cast(Any, module).__loader__ = self.loader
        vars(module).update(_UNCOMPILED)


class _Compiler(ModuleType):
    """Becomes the real module, in place, when anything is asked for that is not there yet."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if name in _ALONE:
            return importlib.import_module(f"{self.__name__}.{name}")
        self.run()
        return getattr(self, name)

    def run(self) -> None:
        """Become the real module."""
        # First: while it runs, it asks itself for what it has not yet.
        cast(Any, self).__class__ = ModuleType
        cast(Any, self).__loader__.exec_module(self)


def _no() -> bool:
    return False


def _as_it_is(fn: Any = None, *_: Any, **__: Any) -> Any:
    """A function or, where it is given none, what decorates one."""
    return (lambda given: given) if fn is None else fn  # pyright: ignore[reportUnknownLambdaType, reportUnknownVariableType]


def _nothing(*_: Any, **__: Any) -> None:
    return None


# What torch and transformers mark functions with for the compiler. Uncompiled, a mark does nothing.
_UNCOMPILED: dict[str, Callable[..., Any]] = {
    "allow_in_graph": _as_it_is,
    "assume_constant_result": _as_it_is,
    "disable": _as_it_is,
    "graph_break": _nothing,
}
# Parts of the compiler that stand alone: its settings, which recomputed layers look at, and what
# transformers draws masks with in a compiled model.
_ALONE = ("config", "_trace_wrapped_higher_order_op")
LOADERS: dict[str, type[_Wrapped]] = {
    _COMPILER: _CompilerLoader,
    "transformers.utils.import_utils": _Questions,
}
