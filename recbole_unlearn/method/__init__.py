"""Unlearning methods; each file of this package registers its own."""

import importlib
import pkgutil

from recbole_unlearn.method.base import METHODS, Stage, Unlearner

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["METHODS", "Stage", "Unlearner"]
