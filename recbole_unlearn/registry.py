"""Names to classes, for backbones and for unlearning methods."""

import inspect
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from recbole_unlearn.errors import UsageError, unknown

LIBRARIES = {"recbole_unlearn", "recbole", "torch", "builtins"}  # every other package is the user's own

T = TypeVar("T")


class Registry(Generic[T]):
    """Classes found by their ``__name__``.

    Args:
        kind: what it holds, for messages: ``"model"`` or ``"unlearning method"``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, type[T]] = {}

    def register(self, cls: type[T]) -> type[T]:
        """Class decorator: make ``cls`` known under its own name.

        Raises:
            ValueError: another class already has this name.
        """
        other = self._classes.get(cls.__name__, cls)
        if other.__module__ != cls.__module__:
            raise ValueError(f"Two classes for {self.kind} '{cls.__name__}': {other.__module__} and {cls.__module__}.")
        self._classes[cls.__name__] = cls  # a class defined again, as in a notebook, replaces itself
        return cls

    def register_all(self, classes: Iterable[type[T]]) -> None:
        """Make the user's own classes known to a fresh process; see :meth:`own`."""
        for cls in classes:
            self.register(cls)

    def __getitem__(self, name: str) -> type[T]:
        """The class of this name.

        Raises:
            UsageError: the name is unknown; the message lists the known ones.
        """
        if name not in self._classes:
            raise UsageError(f"{unknown(self.kind, name, self._classes)} One of your own: --import=FILE.py.")
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._classes))

    def shipped(self) -> list[str]:
        """The names of the classes that come with the package."""
        return [name for name in self if not _is_own(self[name])]

    def own(self, names: Iterable[str]) -> list[type[T]]:
        """The named classes that a user wrote."""
        return [self[name] for name in names if _is_own(self[name])]


def own_yaml(cls: type[Any]) -> Path | None:
    """The settings file of a user's class: ``NAME.yaml`` beside its module, or in the working directory for a notebook.

    ``None`` for a shipped class.
    """
    if not _is_own(cls):
        return None
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return (Path(file).parent if file else Path()) / f"{cls.__name__}.yaml"


def own_sources(cls: type[Any]) -> list[str]:
    """The modules' sources of a class and of its bases that a user wrote; see :func:`module_sources`."""
    return module_sources(cls, LIBRARIES)


def module_sources(cls: type[Any], libraries: Collection[str] = LIBRARIES - {"recbole_unlearn"}) -> list[str]:
    """The sources of the modules of a class and of its bases: a result depends on the code, not only on the name.

    A class typed into an interpreter has no module's file: its own source stands in for it, or else its name.

    Args:
        libraries: the packages to leave out.
    """
    sources = {}
    for each in cls.__mro__:
        if each.__module__.partition(".")[0] in libraries:
            continue
        if getattr(sys.modules.get(each.__module__), "__file__", None) and each.__module__ != "__main__":
            sources[each.__module__] = inspect.getsource(sys.modules[each.__module__])
        else:
            sources[each.__qualname__] = _class_source(each)
    return list(sources.values())


def _class_source(cls: type[Any]) -> str:
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):
        return cls.__qualname__


def _is_own(cls):
    return cls.__module__.partition(".")[0] not in LIBRARIES
