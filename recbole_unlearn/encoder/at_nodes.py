"""What a request makes of a graph's spectrum and of a model's readout, at the nodes that it touches."""

from dataclasses import dataclass

import torch

from recbole_unlearn.encoder.features import features_of_graph, paths_among, table_features
from recbole_unlearn.encoder.snapshot import Snapshot
from recbole_unlearn.encoder.spectrum import Spectrum, Turn
from recbole_unlearn.encoder.touched import Touched
from recbole_unlearn.graph import Graph
from recbole_unlearn.model.base import UnlearnableRecommender


@dataclass(frozen=True)
class SpectrumAt:
    """A spectrum where a request touches it, and what it sees of a table.

    Args:
        rows: singular vectors at the touched nodes, users first, shape ``(T, K)``.
        values: singular values, shape ``(K,)``.
        mine, theirs: singular vectors times the table of users, and of items, shape ``(K, d)``.
    """

    rows: torch.Tensor
    values: torch.Tensor
    mine: torch.Tensor
    theirs: torch.Tensor

    @classmethod
    def of(cls, remaining: Graph, ego: torch.Tensor, touched: Touched) -> "SpectrumAt":
        """Compute it from the graph of what remains."""
        whole = Spectrum.of(remaining)
        vectors = torch.cat([whole.users, whole.items]).index_select(0, touched.nodes)
        of_users, of_items = ego.split([remaining.n_users, remaining.n_items])
        return cls(vectors, whole.values, whole.users.t() @ of_users, whole.items.t() @ of_items)

    @classmethod
    def after(cls, snapshot: Snapshot, touched: Touched) -> "SpectrumAt":
        """One step of the subspace iteration from the snapshot's basis, with what remains.

        Nothing but what the request touches is computed. A vector of the basis still knows a forgotten edge from its
        other end's side, but a node's new entry sums over its remaining edges alone.
        """
        n_users, scale, seen = touched.n_users, touched.scale, snapshot.seen
        vectors, reached = snapshot.basis.at(*touched.sides)
        more = (scale - 1) * vectors  # S times the basis, less the basis
        near, forgotten = touched.among(more), touched.forgotten(scale * vectors)
        step = scale * (reached + near - forgotten)  # A_r times the basis

        among = snapshot.basis.among + more[:n_users].t() @ (reached + near)[:n_users]
        among += reached[n_users:].t() @ more[n_users:] - (scale * vectors)[:n_users].t() @ forgotten[:n_users]
        turn = Turn.of(among)
        # A times the basis changes at touched nodes, and by A times ``more`` at all their neighbours.
        change = step - reached - near
        ego, layer = (layer.index_select(0, touched.nodes).to(step) for layer in snapshot.layers[:2])
        users = seen[0] + change[:n_users].t() @ ego[:n_users] + more[n_users:].t() @ layer[n_users:]
        items = seen[1] + change[n_users:].t() @ ego[n_users:] + more[:n_users].t() @ layer[:n_users]
        rows = torch.cat([step[:n_users] @ turn.users, step[n_users:] @ turn.items])
        return cls(rows, turn.values, turn.users.t() @ users, turn.items.t() @ items)


class Features:
    """Features of a request's pairs, as :func:`~recbole_unlearn.encoder.features.pair_features` gives them.

    Args:
        spectrum: of what remains.
        touched: of the request.
    """

    def __init__(self, spectrum: SpectrumAt, touched: Touched) -> None:
        self.spectrum, self.n_users = spectrum, touched.n_users
        places = touched.of_user, touched.of_item
        self.left, self.right = (spectrum.rows.index_select(0, place) for place in places)
        of_user, of_item = (touched.degrees.index_select(0, place) for place in places)
        users, items = (side[place] for side, place in zip(touched.sides, (places[0], places[1] - self.n_users)))
        paths = paths_among(touched.remaining, touched.graph.n_users, users, items)
        self.of_graph = features_of_graph(self.left, self.right, spectrum.values, of_user, of_item, paths)

    def __call__(self, change: torch.Tensor) -> torch.Tensor:
        """Shape ``(F, n)``, if the table's rows at the touched nodes have changed by shape ``(T, d)``."""
        spectrum, n_users = self.spectrum, self.n_users
        mine = spectrum.mine + spectrum.rows[:n_users].t() @ change[:n_users].to(spectrum.rows)
        theirs = spectrum.theirs + spectrum.rows[n_users:].t() @ change[n_users:].to(spectrum.rows)
        of_table = table_features(self.left, self.right, spectrum.values, mine, theirs)
        return torch.cat([self.of_graph, of_table], dim=1)


class LayersAt:
    r"""Final embeddings of touched nodes in what remains, by the rows of the table there.

    The readout is :math:`\sum_l w_l A_r^l E`. With :math:`A_r = S (A - F) S`, a layer is the snapshot's plus
    :math:`\sum_j A^j C_j`, where the tables :math:`C_j` are zero but for touched nodes. Powers of A between these are
    exact for j up to 1; from 2 on, they are the spectrum's, which a square completes on its diagonal.

    Args:
        snapshot: with weights.
        touched: of the request.
    """

    def __init__(self, snapshot: Snapshot, touched: Touched) -> None:
        self.touched, self.weights = touched, snapshot.weights
        self.layers = [layer.index_select(0, touched.nodes) for layer in snapshot.layers]
        vectors, _ = snapshot.basis.at(*touched.sides)
        values, n_users, rank = snapshot.basis.values, touched.n_users, vectors.shape[1]
        self.vectors = vectors.new_zeros(
            len(vectors), 2 * rank
        )  # users' entries in the first half, items' in the other
        self.vectors[:n_users, :rank], self.vectors[n_users:, rank:] = vectors[:n_users], vectors[n_users:]
        self.weighted = [self.vectors] * 2  # of powers below 2, which need none
        for exponent in range(2, len(self.weights)):
            weighted = self.vectors * (values**exponent).repeat(2)
            self.weighted.append(
                weighted.roll(rank, dims=1) if exponent % 2 else weighted
            )  # an odd power changes sides
        if len(self.weights) > 2:
            self.beside = touched.returning - (vectors * values).square().sum(dim=1, keepdim=True)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Final embeddings, shape ``(T, d)``, if the touched nodes have these rows, of the same shape."""
        scale, layer = self.touched.scale, self.touched.scale * rows
        tables, total = [layer - self.layers[0]], self.weights[0] * rows
        for weight, before in zip(self.weights[1:], self.layers[1:]):
            reached = before + sum(self._power(j, table) for j, table in enumerate(tables, start=1))
            inner = reached - self.touched.forgotten(layer)
            total = total + weight * scale * inner
            layer = scale.square() * inner
            tables = [layer - reached, *tables]
        return total

    def _power(self, exponent, table):
        """A to a power, times a table that is zero but for the touched nodes, at the touched nodes."""
        if exponent == 1:
            return self.touched.among(table)
        product = self.weighted[exponent] @ (self.vectors.t() @ table)
        return product + self.beside * table if exponent == 2 else product


class ReadoutAt:
    """The same of any readout, by computing all final embeddings.

    Args:
        model: before the request.
        remaining: its graph without the request, on its device.
        touched: of the request.
    """

    def __init__(self, model: UnlearnableRecommender, remaining: Graph, touched: Touched) -> None:
        self.model, self.remaining, self.touched = model, remaining, touched

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """See :class:`LayersAt`."""
        nodes = self.touched.nodes
        table = self.model.ego_embeddings().index_copy(0, nodes, rows)
        return self.model.forward(table, self.remaining.adjacency).index_select(0, nodes)
