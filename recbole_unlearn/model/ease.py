"""EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019), and Woodbury's identity to forget."""

import numpy as np
import scipy.sparse as sp
import torch
from recbole.config import Config
from recbole.data.dataset import Dataset

from recbole_unlearn.errors import UsageError
from recbole_unlearn.gram import cooccurrences, interactions, lost_cooccurrences, sparse_rows
from recbole_unlearn.graph import Graph
from recbole_unlearn.model.exact import ExactSettings, LinearRecommender, State
from recbole_unlearn.model.recommender import MODELS
from recbole_unlearn.settings import RegularizationWeight

LARGEST_RANK = 0.5  # of a change, as a share of the items: beyond it a refit costs less (benchmarks/exact.md)


class EASESettings(ExactSettings):
    """The model"""

    reg_weight: RegularizationWeight = 250.0  # RecBole's


@MODELS.register
class EASE(LinearRecommender):
    r"""The closed form of a linear autoencoder: ``W = -P / diag(P)`` with a diagonal of 0, ``P = (X'X + lambda I)^-1``.

    The state is ``P`` in float64, ``8 n_items^2`` bytes: 110 MB for 3,706 items. A request changes ``X'X`` by
    :math:`V' C V`, where ``V`` has the old and the new rows of the users (rank ``2 x users``, or half of it for users
    who lose everything), or two rows for each item that loses edges; the smaller one is taken, and then

    .. math:: P_r = P - P V' (C^{-1} + V P V')^{-1} V P

    Beyond a rank of half of the items a refit is cheaper, and done. RecBole's own class inverts in float32.
    """

    settings = EASESettings

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.reg_weight = float(config["reg_weight"])
        if not self.reg_weight:
            raise UsageError("Setting 'reg_weight' must be above 0 for EASE: items that nobody has have no inverse.")

    def layout(self) -> dict:
        return {"inverse": (torch.float64, (self.n_items, self.n_items))}

    def fit(self, graph: Graph) -> State:
        gram = torch.from_numpy(cooccurrences(graph)).to(self.device, torch.float64)
        gram.diagonal().add_(self.reg_weight)
        return {"inverse": torch.cholesky_inverse(torch.linalg.cholesky(gram)).t().contiguous()}  # it comes by columns

    def forget(self, gone: Graph, remaining: Graph) -> State:
        by_users, by_items = _ranks(gone, remaining)
        if min(by_users, by_items) > LARGEST_RANK * self.n_items:
            return self.fit(remaining)
        change, middle = (_change_of_users if by_users <= by_items else _change_of_items)(gone, remaining)
        inverse: torch.Tensor = self.state["inverse"]
        change, middle = _sparse(change).to(inverse.device), torch.from_numpy(middle).to(inverse.device)
        product = change @ inverse
        solved = torch.linalg.solve(middle + change @ product.t(), product)
        inverse.addmm_(product.t(), solved, alpha=-1)  # in place: to write elsewhere takes longer
        items = torch.unique(gone.items)
        emptied = items[remaining.degrees()[self.n_users + items] == 0]
        inverse[emptied] = 0.0
        inverse[:, emptied] = 0.0  # not even rounding tells whom an erased item was seen with
        inverse[emptied, emptied] = 1 / self.reg_weight
        return {"inverse": inverse}

    def scores(self, users: torch.Tensor) -> torch.Tensor:
        inverse, rows = self.state["inverse"], sparse_rows(self.graph, users)
        # -P / diag(P) has -1 on its diagonal, where W has 0.
        return (rows @ inverse).div_(-inverse.diagonal()).add_(rows.to_dense())

    def weights(self, items: torch.Tensor) -> torch.Tensor:
        return self._weights(self.state["inverse"][:, items], items)

    def refitted_weights(self, items: torch.Tensor) -> torch.Tensor:
        """By a step of iterative refinement: ``P_S + P (I_S - (X'X + lambda I) P_S)``, with the error of P squared."""
        inverse, rows = self.state["inverse"], interactions(self.graph)
        columns = inverse[:, items]
        product = torch.from_numpy(rows.T @ (rows @ columns.cpu().numpy())).to(columns.device)
        residual = -product.add_(columns, alpha=self.reg_weight)
        residual[items, torch.arange(len(items))] += 1
        return self._weights(columns + inverse @ residual, items)

    @staticmethod
    def _weights(columns, items):
        place = torch.arange(len(items), device=columns.device)
        weights = columns / -columns[items, place]
        weights[items, place] = 0
        return weights


def _ranks(gone, remaining):
    """The ranks of the change, by users and by items."""
    users = torch.unique(gone.users)
    emptied = int((remaining.degrees()[users] == 0).sum())
    return 2 * len(users) - emptied, 2 * len(torch.unique(gone.items))


def _change_of_users(gone, remaining):
    """``V`` and ``C`` inverse, with a row for each user's old interactions, and one for the new if there are any."""
    users = torch.unique(gone.users)
    new = interactions(remaining, users)
    old, new = new + interactions(gone, users), new[new.getnnz(axis=1) > 0]
    return sp.vstack([old, new], format="csr"), np.diag(np.repeat([-1.0, 1.0], [old.shape[0], new.shape[0]]))


def _change_of_items(gone, remaining):
    """``V`` and ``C`` inverse, with the unit rows of the items, and what the Gram matrix loses in these rows.

    Its entries in both a row and a column of these items are halved, as both parts of the product add them.
    """
    items, losses = lost_cooccurrences(gone, remaining)
    halves = np.ones(losses.shape[1])
    halves[items] = 0.5
    losses = losses.astype(np.float64).multiply(halves).tocsr()
    unit = sp.csr_matrix((np.ones(len(items)), items, np.arange(len(items) + 1)), shape=losses.shape)
    return sp.vstack([unit, losses], format="csr"), -np.kron([[0.0, 1.0], [1.0, 0.0]], np.eye(len(items)))


def _sparse(matrix):
    starts, columns = (torch.from_numpy(part.astype(np.int64)) for part in (matrix.indptr, matrix.indices))
    return torch.sparse_csr_tensor(starts, columns, torch.from_numpy(matrix.data), size=matrix.shape)
