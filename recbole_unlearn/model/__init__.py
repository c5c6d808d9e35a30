"""Backbones: RecBole recommenders that take their table and graph as arguments; each file registers its own."""

import importlib
import pkgutil

from recbole_unlearn.graph import dataset_graph
from recbole_unlearn.model.base import MODELS, UnlearnableRecommender

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["MODELS", "UnlearnableRecommender", "dataset_graph"]
