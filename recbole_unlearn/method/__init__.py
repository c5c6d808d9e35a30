"""Unlearning methods; each file of this package registers its own."""

import importlib
import pkgutil

from recbole_unlearn.method.base import METHODS, Stage, Unlearner

for _module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_module.name)

__all__ = ["METHODS", "Stage", "Unlearner"]
