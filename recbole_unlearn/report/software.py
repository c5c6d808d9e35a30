"""Packages, machine and code: what a result depends on besides its settings."""

import platform
from importlib.metadata import version
from pathlib import Path

import torch

from recbole_unlearn.digest import digest
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS
from recbole_unlearn.registry import own_sources
from recbole_unlearn.trainer.code import machine

PACKAGES = ("recbole-unlearn", "recbole", "torch", "numpy", "scipy", "pandas")


def software_versions(device: torch.device) -> dict[str, str]:
    """Versions of the packages, the machine, and a digest of the plugin's code and of the user's own classes."""
    sources = [source.read_text(encoding="utf-8") for source in sorted(Path(__file__).parents[1].rglob("*.py"))]
    own = [source for registry in (MODELS, METHODS) for cls in registry.own(registry) for source in own_sources(cls)]
    code = digest(*sources, *own)
    packages = {name: version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **packages, "machine": machine(device), "code": code}
