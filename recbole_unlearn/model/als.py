"""ALS (Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008)."""

from dataclasses import dataclass

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset

from recbole_unlearn.errors import Diverged
from recbole_unlearn.graph import Graph
from recbole_unlearn.model.exact import ExactRecommender, ExactSettings, State
from recbole_unlearn.model.recommender import MODELS
from recbole_unlearn.settings import Count, EmbeddingSize, Positive, setting
from recbole_unlearn.streams import torch_stream

BLOCK = 2**22  # numbers gathered at a time: 32 MiB


class ALSSettings(ExactSettings):
    """The model"""

    embedding_size: EmbeddingSize = 64
    als_alpha: Positive = setting(
        4.0, "Confidence of an interaction beyond that of none, which is 1.", "Ours, by validation data of ml-100k."
    )
    als_reg_weight: Positive = setting(40.0, "The L2 regularization weight.", "Ours, by validation data of ml-100k.")
    als_residual: Positive = setting(
        0.001, "Alternation ends when the normal equations hold up to this share of their right sides.", "Ours."
    )
    als_iterations: Count = setting(500, "Alternations at most; more are an error.")


@MODELS.register
class ALS(ExactRecommender):
    r"""Factors of users and items by alternating least squares, batched over rows.

    .. math:: \sum_{u,i} c_{ui} (r_{ui} - x_u' y_i)^2 + \lambda (|X|^2 + |Y|^2), \quad c_{ui} = 1 + \alpha r_{ui}

    The objective is not convex. Forgetting starts from the factors at hand and solves those rows of users and items
    again whose equations the change has broken, in turn, until all hold up to ``als_residual``: a model of the
    remaining graph as good as a trained one, but not the one that a refit from random factors finds.
    """

    settings = ALSSettings
    exact = False
    deviation_of = "residual of the normal equations"

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.size, self.most = config["embedding_size"], config["als_iterations"]
        self.alpha, self.ridge = float(config["als_alpha"]), float(config["als_reg_weight"])
        self.limit = float(config["als_residual"])

    def layout(self) -> dict:
        tables = {"user_factors": self.n_users, "item_factors": self.n_items}
        return {name: (torch.float64, (length, self.size)) for name, length in tables.items()}

    def fit(self, graph: Graph) -> State:
        generator = torch_stream(self.seed, "factors")
        shapes = [shape for _, shape in self.layout().values()]
        drawn = (torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.01 for shape in shapes)
        return self._alternated(graph, *(factors.to(self.device) for factors in drawn))

    def forget(self, gone: Graph, remaining: Graph) -> State:
        users, items = self.state.values()
        return self._alternated(remaining, users, items, (torch.unique(gone.users), torch.unique(gone.items)))

    def _alternated(self, graph, users, items, touched=(None, None)):
        """The factors after alternation, in place; it begins with the touched rows, whatever the residual."""
        of_users, of_items = _Rows.of_both(graph)
        for _ in range(self.most):
            solved = self._settle(of_users, users, items, touched[0]), self._settle(of_items, items, users, touched[1])
            if all(solved):
                return dict(zip(self.layout(), (users, items)))
            touched = None, None
        raise Diverged(
            f"ALS did not reach `als_residual` {self.limit:g} in {self.most} alternations: raise one of them, or "
            "`als_reg_weight`."
        )

    def _settle(self, rows, own, others, touched=None):
        """Solve the rows of one side that are not solved, in place, unless the side as a whole is, which it returns."""
        gram, right, gradient = self._equations(rows, own, others)
        if touched is None and _residual(gradient, right) <= self.limit:
            return True
        broken = gradient.norm(dim=1) > self.limit * right.norm(dim=1)
        if touched is not None:
            broken[touched] = True
        for some, places, inside in rows.blocks(broken.nonzero().squeeze(1), self.size):
            theirs = others[places] * inside[:, :, None]
            systems = torch.baddbmm(gram, theirs.transpose(1, 2), theirs, alpha=self.alpha)
            own[some] = torch.cholesky_solve(right[some][:, :, None], torch.linalg.cholesky(systems)).squeeze(2)
        return False

    def _equations(self, rows, own, others):
        """What the rows' matrices share, shape ``(d, d)``; their right sides and gradients, shape ``(n, d)``."""
        gram = others.t() @ others
        gram.diagonal().add_(self.ridge)
        right = (1 + self.alpha) * (rows.matrix() @ others)
        gradient = own @ gram + rows.matrix(self.alpha * rows.products(own, others)) @ others - right
        return gram, right, gradient

    @torch.no_grad()
    def deviation(self, items: torch.Tensor) -> float:
        """The norm of the gradient over that of the right sides, of users or items, whichever is larger."""
        users, factors = self.state.values()
        of_users, of_items = _Rows.of_both(self.graph)
        sides = self._equations(of_users, users, factors), self._equations(of_items, factors, users)
        return max(_residual(gradient, right) for _, right, gradient in sides)

    def scores(self, users: torch.Tensor) -> torch.Tensor:
        return self.state["user_factors"][users] @ self.state["item_factors"].t()


def _residual(gradient, right):
    return float(gradient.norm() / right.norm().clamp(min=torch.finfo(right.dtype).tiny))


@dataclass(frozen=True)
class _Rows:
    """The interactions of one side, row by row.

    Args:
        starts: where each row begins, shape ``(n + 1,)``.
        others: ids of the other side, shape ``(E,)``.
        n_others: of the other side.
    """

    starts: torch.Tensor
    others: torch.Tensor
    n_others: int

    @classmethod
    def of_both(cls, graph):
        """Of users and of items."""
        users, items = graph.degrees().split([graph.n_users, graph.n_items])
        starts = (torch.cat([degrees.new_zeros(1), degrees.cumsum(0)]) for degrees in (users, items))
        return cls(next(starts), graph.items, graph.n_items), cls(
            next(starts), graph.users[graph.item_order()], graph.n_users
        )

    def matrix(self, values=None):
        """A sparse matrix with these values, by default ones."""
        if values is None:
            values = torch.ones(len(self.others), dtype=torch.float64, device=self.others.device)
        size = len(self.starts) - 1, self.n_others
        return torch.sparse_csr_tensor(self.starts, self.others, values, size=size)

    def products(self, own, others):
        """The dot products of the factors of each interaction, shape ``(E,)``."""
        rows = torch.repeat_interleave(torch.arange(len(own), device=own.device), self.starts.diff())
        size = max(1, BLOCK // own.shape[1])
        parts = zip(rows.split(size), self.others.split(size))
        return torch.cat([torch.einsum("ed,ed->e", own[left], others[right]) for left, right in parts])

    def blocks(self, rows, size):
        """Some rows, those of like length together, their ids padded to the longest, and which of these are theirs."""
        lengths = self.starts.diff()[rows]
        order = torch.argsort(lengths)
        rows, lengths = rows[order], lengths[order]
        start = 0
        while start < len(rows):
            counts = torch.arange(1, len(rows) - start + 1, device=rows.device)
            end = start + max(1, int((counts * size * torch.clamp(lengths[start:], min=size) <= BLOCK).sum()))
            some, longest = rows[start:end], int(lengths[end - 1])
            within = torch.arange(longest, device=rows.device)
            inside = within < self.starts.diff()[some][:, None]
            places = (self.starts[some][:, None] + within).clamp(max=len(self.others) - 1)
            yield some, self.others[places], inside
            start = end
