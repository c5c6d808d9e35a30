"""RecBole recommenders that can forget: trained tables, fits and networks; each file registers its own."""

import importlib
import pkgutil

from recbole_unlearn.graph import dataset_graph
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.model.exact import ExactRecommender
from recbole_unlearn.model.network import NetworkRecommender
from recbole_unlearn.model.ordered import OrderedNetwork
from recbole_unlearn.model.recommender import MODELS, Recommender

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "MODELS",
    "ExactRecommender",
    "NetworkRecommender",
    "OrderedNetwork",
    "Recommender",
    "UnlearnableRecommender",
    "dataset_graph",
]
