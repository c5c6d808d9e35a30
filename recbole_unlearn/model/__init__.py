"""Backbones: RecBole recommenders that take their table and graph as arguments."""

from recbole_unlearn.model.base import MODELS, UnlearnableRecommender, dataset_graph
from recbole_unlearn.model.bpr import BPR
from recbole_unlearn.model.lightgcn import LightGCN
from recbole_unlearn.model.sgl import SGL
from recbole_unlearn.model.simgcl import SimGCL

__all__ = ["MODELS", "UnlearnableRecommender", "dataset_graph", "BPR", "LightGCN", "SGL", "SimGCL"]
