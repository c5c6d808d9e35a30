"""What a sink is, and the registry of sinks."""

import importlib.util
from collections.abc import Mapping
from typing import Any

from recbole_unlearn.config import Config
from recbole_unlearn.deletion.sinks.content import Content
from recbole_unlearn.errors import UsageError, unknown
from recbole_unlearn.registry import Registry

SINKS: Registry["Sink"] = Registry("sink")
TOLERANCE = 1e-5  # between embeddings computed on two machines, relative to the largest number


class Sink:
    """Hands a version to something that serves it. Subclass it, and ``@SINKS.register`` makes its name known.

    Args:
        config: of the store's model, with the settings of the call.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    def needs(self) -> Mapping[str, str]:
        """The libraries that it imports: name of each module to the extra that installs it."""
        return {}

    def check_ready(self) -> None:
        """Refuse to begin if something is missing.

        Raises:
            UsageError: a library is not installed, or a setting does not fit.
        """
        for module, extra in self.needs().items():
            if importlib.util.find_spec(module) is None:
                raise UsageError(
                    f"The sink '{type(self).__name__.lower()}' needs {module}, which is not installed: "
                    f"pip install 'recbole-unlearn[{extra}]', or leave it out of unlearn_sinks."
                )

    def write(self, content: Content, folder: str) -> None:
        """Write a version.

        Args:
            content: of the version.
            folder: empty. What is in it is checked, and then takes the place of the sink's earlier folder.
        """
        raise NotImplementedError

    def verify(self, content: Content, folder: str) -> list[dict[str, Any]]:
        """Read what was written back, and compare it with the version; changes nothing.

        Args:
            content: of the version that was written; without ``before`` in a later search of the store.
            folder: as :meth:`write` left it.

        Returns:
            Checks of :func:`check`.
        """
        raise NotImplementedError


def check(name: str, passed: bool | None, value: float | None, limit: str) -> dict[str, Any]:
    """A check as receipts have it; ``passed`` is None if there was nothing to measure."""
    return {"name": name, "passed": None if passed is None else bool(passed), "value": value, "limit": limit}


def none_of(name: str, number: int | None) -> dict[str, Any]:
    """The check that there is none of something; ``number`` is None if that could not be measured."""
    return check(name, None if number is None else number == 0, number, "0")


def sinks_of(config: Config) -> dict[str, Sink]:
    """The sinks that the setting names, by name in small letters, in the order given.

    Raises:
        UsageError: a name is unknown, or comes twice.
    """
    known = {name.lower(): name for name in SINKS}
    names = [name.lower() for name in config["unlearn_sinks"] or ()]
    for name in names:
        if name not in known:
            raise unknown("sink", name, known)
        if names.count(name) > 1:
            raise UsageError(f"Setting 'unlearn_sinks' names '{name}' twice: leave one out.")
    return {name: SINKS[known[name]](config) for name in names}
