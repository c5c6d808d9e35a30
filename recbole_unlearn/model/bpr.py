"""Matrix factorisation with BPR (Rendle et al., "BPR: Bayesian Personalized Ranking", UAI 2009)."""

from recbole.model.general_recommender import BPR as RecBoleBPR

from recbole_unlearn.graph import dataset_graph
from recbole_unlearn.model.base import MODELS, UnlearnableRecommender


@MODELS.register
class BPR(UnlearnableRecommender, RecBoleBPR):
    """RecBole's matrix factorisation: the shortest example of the contract, and one that uses no graph."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.set_graph(dataset_graph(dataset))

    def forward(self, ego, adjacency):
        return ego
