"""GNNDelete: small operators on the rows around the request, trained on the request; the model stays frozen."""

from collections.abc import Iterator
from typing import Any

import torch

from recbole_unlearn.data.sampler import EdgeSampler
from recbole_unlearn.errors import Diverged, NoResult
from recbole_unlearn.graph import Graph
from recbole_unlearn.method.base import METHODS, Stage, Unlearner
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.propagation import propagate
from recbole_unlearn.settings import Count, Positive, Settings, Share, setting
from recbole_unlearn.streams import begin_stream


class GNNDeleteSettings(Settings):
    """The deletion operators' training"""

    unlearn_gnndelete_alpha: Share = setting(
        0.05, "Weight of deleted edge consistency, up to 1.", "Ours: its released code's .5 costs 5 to 40 % of NDCG."
    )
    unlearn_gnndelete_steps: Count = setting(100, "Steps of Adam.", "Ours: 200 cost NDCG and hardly forget more.")
    unlearn_gnndelete_learning_rate: Positive = setting(0.01, "Adam's step size.", "Ours: its .001 is for more steps.")


@METHODS.register
class GNNDelete(Unlearner):
    r"""Deletion operators in the L-hop neighbourhood of the forgotten edges.

    The paper puts a trainable matrix behind each layer of a frozen network; it acts on the nodes around the deletion.
    Our backbones propagate linearly, without weights between layers. Here the matrices act on the 0-layer rows: one for
    the users and one for the items that are k hops from the request, k = 0, ..., L. The trained state stays a table,
    :math:`E_0'[n] = E_0[n] W_{g(n)}` with g(n) the node's group. With P the propagation on the remaining graph,
    :math:`Z' = P E_0 + \sum_g P E_g (W_g - I)`, :math:`E_g` the group's rows, so that a step propagates nothing.

    With :math:`s = Z_u \cdot Z_i` before and s' after, Adam minimises from :math:`W = I`

    .. math::
        \alpha \sum_{ui \in F} (s'_{ui} - s_{pq})^2 / |F| + (1-\alpha) \sum_{ui \in B} (s'_{ui} - s_{ui})^2 / |B|

    Deleted edge consistency: a forgotten pair should score like a random pair (p, q) that is no edge, drawn once.
    Neighbourhood influence: a batch B of remaining pairs, and as many that are no edges, keep their scores. The
    released code takes scores or embeddings; with embeddings, the request's rows collapse, at a third of NDCG.

    Reference: Cheng et al., "GNNDelete: A General Strategy for Unlearning in Graph Neural Networks", ICLR 2023.
    """

    settings = GNNDeleteSettings

    @torch.no_grad()
    def prepare(self) -> float:
        if not self.original.is_linear():
            name = type(self.original).__name__
            raise NoResult(f"GNNDelete needs a linear `forward`, unlike {name}'s; leave it out of --unlearn_methods.")
        if self.original.ego_embeddings().shape != self.original.final_embeddings().shape:
            raise NoResult("GNNDelete needs final embeddings of the table's width; leave it out of --unlearn_methods.")
        return 0.0

    def unlearn(self) -> Iterator[Stage]:
        graph, remaining = (each.to(self.config["device"]) for each in (self.data.graph, self.data.remaining_graph))
        ego = self.original.ego_embeddings().detach()
        groups = neighbourhood(graph, remaining, self.config["n_layers"] or 0)
        operators = DeletionOperators(self.original, ego, remaining.adjacency, groups)
        details = self.train(operators) if len(self.data.request) else {}
        yield Stage("", self.revised(self.original, operators.table(ego)), details=details)

    def train(self, operators: "DeletionOperators") -> dict[str, Any]:
        """Train the operators; returns the stage's details.

        Raises:
            Diverged: the operators are not finite.
        """
        config, data, request = self.config, self.data, self.data.request
        begin_stream(config, "pairs")
        sampler, remaining = EdgeSampler(data.train, graph=data.graph), data.remaining_graph
        random_users = data.graph.users[torch.randint(len(data.graph), (len(request),))]
        _, wanted = operators(random_users, sampler.sample_by_key_ids(random_users, 1))
        optimizer = torch.optim.Adam(operators.parameters(), lr=config["unlearn_gnndelete_learning_rate"])
        alpha, losses = config["unlearn_gnndelete_alpha"], []
        for _ in range(config["unlearn_gnndelete_steps"]):
            batch = torch.randint(max(1, len(remaining)), (min(config["train_batch_size"], len(remaining)),))
            negatives = sampler.sample_by_key_ids(remaining.users[batch], 1)
            users = torch.cat([request.users, remaining.users[batch].repeat(2)])
            items = torch.cat([request.items, remaining.items[batch], negatives])
            loss = operators.loss(users, items, wanted, alpha)
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if not operators.change.isfinite().all():
            raise Diverged("the deletion operators are not finite")
        loss_fell = f"{losses[0]:.3g} to {losses[-1]:.3g}"
        return {"steps": len(losses), "loss": loss_fell, "rows moved": int(operators.groups.sum())}


def neighbourhood(graph: Graph, remaining: Graph, hops: int) -> torch.Tensor:
    """The users, then the items, that are exactly 0, 1, ..., ``hops`` hops from a forgotten edge's ends.

    Returns:
        Boolean, shape ``(G, N)``, up to the last hop that reaches a node.
    """
    reached = ring = graph.degrees() > remaining.degrees()
    users, groups = torch.arange(graph.n_nodes, device=ring.device) < graph.n_users, []
    for _ in range(hops + 1):
        groups += [ring & users, ring & ~users]
        ring = (propagate(graph.adjacency, ring[:, None].float()) > 0).squeeze(1) & ~reached
        if not ring.any():
            break
        reached = reached | ring
    return torch.stack(groups)


class DeletionOperators(torch.nn.Module):
    """One ``(d, d)`` matrix for each of G groups of nodes; called with pairs, it gives their scores.

    Args:
        model: gives the propagation, linear in the table.
        ego: 0-layer table, shape ``(N, d)``.
        adjacency: of the remaining graph, sparse CSR, shape ``(N, N)``.
        groups: disjoint, boolean, shape ``(G, N)``.
    """

    def __init__(self, model: UnlearnableRecommender, ego: torch.Tensor, adjacency: torch.Tensor, groups: torch.Tensor):
        super().__init__()
        self.n_users, self.groups = model.n_users, groups
        with torch.no_grad():
            self.final = model.forward(ego, adjacency)
            self.parts = torch.cat([model.forward(ego * group[:, None], adjacency) for group in groups], dim=1)
        self.change = torch.nn.Parameter(ego.new_zeros(self.parts.shape[1], ego.shape[1]))  # W - I of all groups

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``s'`` and ``s`` of each pair, shape ``(B,)`` each."""
        nodes = torch.cat([users, items + self.n_users]).to(self.final.device)
        before = self.final[nodes]
        (user, item), (new_user, new_item) = before.chunk(2), (before + self.parts[nodes] @ self.change).chunk(2)
        return (new_user * new_item).sum(dim=1), (user * item).sum(dim=1)

    def loss(self, users: torch.Tensor, items: torch.Tensor, wanted: torch.Tensor, alpha: float) -> torch.Tensor:
        """The scalar to minimise; the first ``F`` pairs are forgotten, with scores ``wanted``, shape ``(F,)``."""
        (after, before), n = self(users, items), len(wanted)
        errors = (after - torch.cat([wanted, before[n:]])).square()
        return alpha * errors[:n].mean() + (1 - alpha) * errors[n:].sum() / max(1, len(errors) - n)

    @torch.no_grad()
    def table(self, ego: torch.Tensor) -> torch.Tensor:
        """``E0'``, shape ``(N, d)``."""
        changes = self.change.split(ego.shape[1])
        return ego + sum((ego * group[:, None]) @ change for group, change in zip(self.groups, changes))
