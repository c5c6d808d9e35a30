"""Packages, machine and code: what a result depends on besides its settings."""

import platform
from importlib.metadata import version
from pathlib import Path

from recbole_unlearn.config import Config
from recbole_unlearn.digest import digest
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.registry import own_sources
from recbole_unlearn.trainer.code import machine

PACKAGES = ("recbole-unlearn", "recbole", "torch", "numpy", "scipy", "pandas")


def software_versions(config: Config) -> dict[str, str]:
    """Versions of the packages, the machine, and a digest of the plugin's code and of the user's own classes of a run.

    Args:
        config: settings with ``model``, ``unlearn_methods`` and ``device``.
    """
    sources = [source.read_text(encoding="utf-8") for source in sorted(Path(__file__).parents[1].rglob("*.py"))]
    chosen = MODELS[config["model"]], *(METHODS[name] for name in config["unlearn_methods"] if name in METHODS)
    code = digest(*sources, *(source for cls in chosen for source in own_sources(cls)))
    packages = {name: version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **packages, "machine": machine(config["device"]), "code": code}
