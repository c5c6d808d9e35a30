"""SLIM (Ning and Karypis, "SLIM: Sparse Linear Methods for Top-N Recommender Systems", ICDM 2011), solved exactly."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from recbole.config import Config
from recbole.data.dataset import Dataset

from recbole_unlearn.gram import cooccurrences, lost_cooccurrences, sparse_rows, take_away
from recbole_unlearn.graph import Graph
from recbole_unlearn.model.exact import ExactSettings, LinearRecommender, State
from recbole_unlearn.model.recommender import MODELS
from recbole_unlearn.nonnegative import TOLERANCE, solve_nonnegative
from recbole_unlearn.settings import Positive, Words, setting

ROWS = 512  # columns of weights solved at a time


class SLIMElasticSettings(ExactSettings):
    """The model"""

    alpha: Positive = setting(0.2, "Weight of both norms, as in ElasticNet.", "RecBole's.")
    l1_ratio: Annotated[float, Field(gt=0, lt=1), Words("a share in (0, 1)")] = setting(
        0.02, "The L1 norm's share of it.", "RecBole's."
    )
    positive_only: Literal[True] = setting(True, "Weights are not negative, as in the paper.")
    hide_item: Literal[True] = setting(True, "An item does not explain itself, as in the paper.")


@MODELS.register
class SLIMElastic(LinearRecommender):
    r"""Explains each item's column by the others with few weights that are not negative.

    .. math:: \min_{w \ge 0, w_j = 0} |x_j - X w|^2 / 2n + \alpha \rho |w|_1 + \alpha (1 - \rho) |w|^2 / 2

    with ``n`` users (padding included, as in RecBole) and :math:`\rho` the ``l1_ratio``. The objective is strictly
    convex, so that there is one answer, which :func:`~recbole_unlearn.nonnegative.solve_nonnegative` gives up to
    rounding. RecBole's class stops scikit-learn's coordinate descent at a duality gap of 1e-4 of each column's
    norm or after 100 rounds.

    When (u, i) goes, the regressions of i and of the other items of u change their targets, and *every* regression
    changes its feature i. A column's weights stay the answer, and are kept, if its target does not change, no
    item that loses an edge is in its support, and none would join it now; all others are solved again from their
    support. The state has the counts ``X'X`` too (int32, ``4 n_items^2`` bytes).
    """

    settings = SLIMElasticSettings

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.l1 = config["alpha"] * config["l1_ratio"]
        self.l2 = config["alpha"] * (1 - config["l1_ratio"])

    def layout(self) -> dict:
        counts = {"counts": (torch.int32, (self.n_items,) * 2), "starts": (torch.int64, (self.n_items + 1,))}
        return {**counts, "features": (torch.int32, (None,)), "values": (torch.float64, (None,))}

    def set_state(self, state):
        super().set_state(state)
        starts, features, values = (self.state[name] for name in ("starts", "features", "values"))
        if int(starts[0]) != 0 or int(starts[-1]) != len(features) or len(values) != len(features):
            raise ValueError("its columns do not end where they should")
        if (starts.diff() < 0).any() or (len(features) and not 0 <= features.min() <= features.max() < self.n_items):
            raise ValueError("its features are no items")

    def fit(self, graph: Graph) -> State:
        counts = torch.from_numpy(cooccurrences(graph)).to(self.device)
        everything = torch.arange(self.n_items, device=self.device)
        return self._state(counts, self._solved(counts, everything))

    def forget(self, gone: Graph, remaining: Graph) -> State:
        counts, weights = self.state["counts"], self._by_item().to_dense()
        items, losses = lost_cooccurrences(gone, remaining)
        take_away(counts, items, losses)
        targets = torch.from_numpy(losses.getnnz(axis=0) > 0).to(self.device)
        again = self._outdated(counts, weights, torch.from_numpy(items).to(self.device), targets)
        weights[again] = self._solved(counts, again, weights[again] > 0)
        return self._state(counts, weights)

    def _outdated(self, counts, weights, changed, targets):
        """The items whose regressions have another answer now."""
        outdated = (weights[:, changed] > 0).any(dim=1) | targets
        outdated[changed] = True
        kept = (~outdated).nonzero().squeeze(1)
        matrix, right = self._problem(counts, kept)
        gradient = weights[kept] @ matrix[:, changed] - right[:, changed]
        outdated[kept[(gradient < -TOLERANCE * float(matrix.abs().max())).any(dim=1)]] = True
        return outdated.nonzero().squeeze(1)

    def _problem(self, counts, items):
        """The matrix of all items' regressions, and a row of the right sides for each of some items."""
        matrix = counts.double() / self.n_users
        right = matrix[items] - self.l1
        matrix.diagonal().add_(self.l2)
        return matrix, right

    def _solved(self, counts, items, support=None):
        """The weights of some items, a row for each, shape ``(n, n_items)``."""
        matrix, right = self._problem(counts, items)
        supports = [None] * len(items.split(ROWS)) if support is None else support.split(ROWS)
        parts = zip(right.split(ROWS), items.split(ROWS), supports)
        return torch.cat([solve_nonnegative(matrix, *part) for part in parts]) if len(items) else right

    def _state(self, counts, weights):
        sparse = weights.to_sparse_csr()
        parts = counts, sparse.crow_indices(), sparse.col_indices().int(), sparse.values()
        return dict(zip(self.layout(), parts))

    def _by_item(self):
        """``W'`` as a sparse CSR tensor."""
        starts, features, values = (self.state[name] for name in ("starts", "features", "values"))
        return torch.sparse_csr_tensor(starts, features.long(), values, size=(self.n_items, self.n_items))

    def scores(self, users: torch.Tensor) -> torch.Tensor:
        return (self._by_item() @ sparse_rows(self.graph, users).to_dense().t().contiguous()).t()

    def weights(self, items: torch.Tensor) -> torch.Tensor:
        return self._by_item().to_dense()[items].t()

    def refitted_weights(self, items: torch.Tensor) -> torch.Tensor:
        return self._solved(torch.from_numpy(cooccurrences(self.graph)).to(self.device), items).t()
