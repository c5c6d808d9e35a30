"""A backbone's training loss at frozen randomness, with its gradient and Hessian-vector product, for influence methods.

Everything random in a training loss is frozen: one negative item for each edge, the views, the noise. The loss is then
a function of what the backbone trains, and the losses before and after a request differ only by the request.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction

from recbole_unlearn.method.influence.point import called_at
from recbole_unlearn.model.base import UnlearnableRecommender


@dataclass(frozen=True)
class Triples:
    """Each of ``E`` edges with a negative item: ``BPR = sum_e softplus(-m_e)``, ``m_e = z_u . (z_i - z_j)``.

    Args:
        users, items, negatives: shape ``(E,)`` each.
        n_users, n_items: numbers of nodes.
    """

    users: torch.Tensor
    items: torch.Tensor
    negatives: torch.Tensor
    n_users: int
    n_items: int

    @property
    def n_nodes(self) -> int:
        """N, users and items together."""
        return self.n_users + self.n_items

    @cached_property
    def _pattern(self):
        """Places of edges (+e) and negatives (-e) in an (N, N) CSR matrix: orders of both halves, rows, columns."""
        users, items = self.users.repeat(2), torch.cat([self.items, self.negatives]) + self.n_users
        by_user = torch.argsort(users * self.n_nodes + items)
        by_item = torch.argsort(items * self.n_nodes + users)
        counts = torch.bincount(torch.cat([users, items]), minlength=self.n_nodes)
        row_starts = torch.zeros(len(counts) + 1, dtype=torch.int32, device=users.device)
        row_starts[1:] = torch.cumsum(counts, 0)
        return by_user, by_item, row_starts, items[by_user].int(), users[by_item].int()

    def matrix(self, values: torch.Tensor) -> torch.Tensor:
        """Symmetric sparse matrix with ``values`` (shape ``(E,)``) at the edges and their negatives at ``(u, j)``."""
        by_user, by_item, row_starts, columns, item_columns = self._pattern
        signed = torch.cat([values, -values])
        return torch.sparse_csr_tensor(
            row_starts,
            torch.cat([columns, item_columns]),
            torch.cat([signed[by_user], signed[by_item]]),
            size=(self.n_nodes, self.n_nodes),
        )

    def differences(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """``l_u . (r_i - r_j)`` of each triple, shape ``(E,)``, for two node tables of shape ``(N, d)``."""
        by_user, _, row_starts, columns, _ = self._pattern
        zeros = left.new_zeros(len(by_user))
        places = torch.sparse_csr_tensor(
            row_starts[: self.n_users + 1], columns, zeros, size=(self.n_users, len(right))
        )
        products = torch.sparse.sampled_addmm(places, left[: self.n_users], right.t()).values()
        unsorted = torch.empty_like(products)
        unsorted[by_user] = products
        positive, negative = unsorted.view(2, len(self.users))
        return positive - negative

    def select(self, keep: torch.Tensor) -> "Triples":
        """The triples where ``keep`` (boolean, shape ``(E,)``) holds."""
        return Triples(self.users[keep], self.items[keep], self.negatives[keep], self.n_users, self.n_items)

    def occurrences(self) -> torch.Tensor:
        """How often each node is a user, an item and a negative item, shape ``(3, N)``."""
        nodes = self.users, self.items + self.n_users, self.negatives + self.n_users
        return torch.stack([torch.bincount(side, minlength=self.n_nodes) for side in nodes])


class _BPRSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, final, triples):
        ctx.triples = triples
        ctx.save_for_backward(final)
        return F.softplus(-triples.differences(final, final)).sum()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * _BPRGradient.apply(*ctx.saved_tensors, ctx.triples), None


class _BPRGradient(torch.autograd.Function):
    """``C z``, C the sparse matrix of ``c_e = -sigmoid(-m_e)``.

    Its derivative along x is ``C x + W z``, W the matrix of ``sigmoid(m_e) sigmoid(-m_e) m'_e``.
    """

    @staticmethod
    def forward(ctx, final, triples):
        margins = triples.differences(final, final)
        ctx.triples = triples
        ctx.save_for_backward(final, margins)
        return triples.matrix(-torch.sigmoid(-margins)) @ final

    @staticmethod
    def backward(ctx, x):
        final, margins = ctx.saved_tensors
        margin_change = ctx.triples.differences(torch.cat([x, final], dim=1), torch.cat([final, x], dim=1))
        curvature = torch.sigmoid(margins) * torch.sigmoid(-margins)
        first = ctx.triples.matrix(-torch.sigmoid(-margins)) @ x
        return first + ctx.triples.matrix(curvature * margin_change) @ final, None


def bpr_sum(final: torch.Tensor, triples: Triples) -> torch.Tensor:
    """``sum_e softplus(-m_e)``, twice differentiable in the final embeddings of shape ``(N, d)``.

    The gradient and the Hessian-vector product cost two to four sparse products with ``2E`` places and no tensor of
    shape ``(E, d)``.
    """
    return _BPRSum.apply(final, triples)


@dataclass(frozen=True)
class FrozenLoss:
    """A backbone's training loss summed over a graph's edges as one batch, with all randomness frozen.

    For BPR, the regulariser of squared norms and InfoNCE against all nodes, as in SGL, LightGCL and NCL, this equals
    the sum over batches of any size. SimGCL and XSimGCL contrast the nodes of a batch with each other; here these are
    all nodes, as in their largest batch. All take all candidates, none drawn at random.

    Args:
        model: the backbone; its table, weights and graph are not used.
        adjacency: the table's propagation, sparse CSR, shape ``(N, N)``.
        triples: the edges and their negatives that BPR sums over.
        occurrences: of all triples of the loss, shape ``(3, N)``, for the regulariser and the self-supervised loss.
        views: frozen views.
        seed: seeds the noise.
    """

    model: UnlearnableRecommender
    adjacency: torch.Tensor
    triples: Triples
    occurrences: torch.Tensor
    views: list[Any]
    seed: int

    def __call__(self, point: torch.Tensor) -> torch.Tensor:
        """The loss of a point of shape ``(M, d)``, a scalar, twice differentiable.

        Args:
            point: the table, shape ``(N, d)``, and the weights besides; see
                :func:`~recbole_unlearn.method.influence.point.packed`.
        """
        return called_at(point, self.model, self._of_table)

    def final(self, point: torch.Tensor) -> torch.Tensor:
        """The final embeddings of a point, differentiable."""
        return called_at(point, self.model, lambda ego: self.model.forward(ego, self.adjacency))

    def _of_table(self, ego):
        counts = self.occurrences.to(ego.dtype)
        if not counts.any():  # nothing remains to learn from
            return 0 * ego.sum()
        with torch.random.fork_rng([ego.device] if ego.is_cuda else []):
            torch.manual_seed(self.seed)
            final, views = self.model.training_forward(ego, self.adjacency, self.views)
            contrast = self.model.self_supervised_loss(ego, final, counts, views)
        extra = self.model.regulariser(ego, counts) + contrast
        return bpr_sum(final, self.triples) + counts[0].sum() * extra

    def gradient(self, point: torch.Tensor) -> torch.Tensor:
        """The gradient at a point, shape ``(M, d)``."""
        return self._differentiated(point)[1]

    def hessian(self, point: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        """The function ``x -> H x`` at a point; ``x`` and the result have shape ``(M, d)``."""
        leaf, gradient = self._differentiated(point, create_graph=True)
        if not gradient.requires_grad:
            raise RuntimeError("its gradient is a constant")
        return lambda x: torch.autograd.grad(gradient, leaf, x, retain_graph=True)[0]

    def _differentiated(self, point, create_graph=False):
        leaf = point.detach().requires_grad_()
        return leaf, torch.autograd.grad(self(leaf), leaf, create_graph=create_graph)[0]


@dataclass(frozen=True)
class FrozenOwnLoss(FrozenLoss):
    """The same for a backbone with a ``model_loss`` of its own: that of all edges as one batch, times their number.

    Plain autograd differentiates it twice. It keeps what the loss keeps of a batch of all E edges: with losses of
    pairs, about ten tensors of shape ``(E, d)``, .2 GB for 80,000 edges and 2.6 GB for a million of width 64, and with
    one that compares all users (items) with each other, some of shape ``(n_users, n_users)``.
    """

    def _of_table(self, ego):
        model, triples = self.model, self.triples
        fields, sides = (model.USER_ID, model.ITEM_ID, model.NEG_ITEM_ID), (triples.users, triples.items)
        if not len(triples.users):  # nothing remains to learn from
            return 0 * ego.sum()
        batch = Interaction(dict(zip(fields, (*sides, triples.negatives))))
        with torch.random.fork_rng([ego.device] if ego.is_cuda else []):
            torch.manual_seed(self.seed)
            final, views = model.training_forward(ego, self.adjacency, self.views)
            return len(triples.users) * model.model_loss(batch, ego, final, views)

    def is_random(self, point: torch.Tensor) -> bool:
        """Whether the loss draws at random: then the losses before and after a request differ by more than it."""
        with torch.no_grad():
            return not torch.equal(self(point), replace(self, seed=self.seed + 1)(point))
