"""A request that changes little of a graph: what it makes of its nodes, from a snapshot of the model before it."""

from collections.abc import Sequence

import torch

from recbole_unlearn.encoder.snapshot import Snapshot
from recbole_unlearn.encoder.spectrum import Turn
from recbole_unlearn.encoder.touched import Touched
from recbole_unlearn.encoder.touched_features import Features, SpectrumAt

FEW = 0.002  # share of the graph's edges, up to which the snapshot's spectrum leads to that of what remains
WEAK = 0.3  # of the least singular value: what a stronger request has planted stays in the spectrum before it


def is_small(touched: Touched) -> bool:
    """Whether a request has few edges, in a small part of the graph: only then a snapshot can serve it."""
    return bool(touched.lost.sum() <= 2 * FEW * len(touched.graph)) and touched.is_near


def is_local(snapshot: Snapshot, touched: Touched) -> bool:
    """Whether a request changes so little that what it touches tells all of its outcome.

    It must be small and have no pattern that comes near the strength of those that the spectrum keeps, as planted ones
    may; and the model's readout must be a sum of layers.
    """
    weak = touched.strength <= WEAK * float(snapshot.spectrum.values[-1])
    return bool(snapshot.weights) and weak and is_small(touched)


class LocalTable:
    """The table of a model after a request, as far as it shows at the nodes that the request touches.

    Args:
        snapshot: of the model.
        touched: of the request.
        own: see :class:`~recbole_unlearn.encoder.calibrated.CalibratedEncoder`.
    """

    def __init__(self, snapshot: Snapshot, touched: Touched, own: torch.Tensor | None) -> None:
        self.features = Features(spectrum_after(snapshot, touched), touched)
        self._layers = LayersAt(snapshot, touched)
        layers = zip(snapshot.weights, self._layers.layers)
        before = torch.stack([weight * layer for weight, layer in layers]).sum(dim=0)
        moments = snapshot.moments.without(before, touched.lost, touched.n_users)
        self._inverses = [torch.linalg.inv(moment) for moment in moments.spread(own)]

    def final(self, rows: torch.Tensor) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """What the touched nodes' rows make of their final embeddings, and of the cost of moving a row.

        Args:
            rows: of the touched nodes, shape ``(T, d)``.

        Returns:
            Shape ``(T, D)``, and the inverse of C for users and for items, see
            :meth:`~recbole_unlearn.encoder.least_change.Moments.spread`.
        """
        return self._layers(rows), self._inverses


def spectrum_after(snapshot: Snapshot, touched: Touched) -> SpectrumAt:
    """One step of the subspace iteration from the snapshot's vectors, with what remains.

    Nothing but what the request touches is computed. The vectors still know a forgotten edge at its ends, but a
    node's new entry sums over its remaining edges alone.
    """
    n_users, scale, seen = touched.n_users, touched.scale, snapshot.seen
    vectors, reached = snapshot.spectrum.at(*touched.sides), snapshot.step_at(*touched.sides)
    more = (scale - 1) * vectors  # S times the vectors, less these
    near, forgotten = touched.among(more), touched.forgotten(scale * vectors)
    step = scale * (reached + near - forgotten)  # A_r times the vectors

    among = snapshot.among + more[:n_users].t() @ (reached + near)[:n_users]
    among += reached[n_users:].t() @ more[n_users:] - (scale * vectors)[:n_users].t() @ forgotten[:n_users]
    turn = Turn.of(among)
    # A times the vectors changes at touched nodes, and by A times ``more`` at all their neighbours.
    change = step - reached - near
    ego, layer = (layer.index_select(0, touched.nodes).to(step) for layer in snapshot.layers[:2])
    users = seen[0] + change[:n_users].t() @ ego[:n_users] + more[n_users:].t() @ layer[n_users:]
    items = seen[1] + change[n_users:].t() @ ego[n_users:] + more[:n_users].t() @ layer[:n_users]
    rows = torch.cat([step[:n_users] @ turn.users, step[n_users:] @ turn.items])
    return SpectrumAt(rows, turn.values, turn.users.t() @ users, turn.items.t() @ items)


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
        vectors = snapshot.spectrum.at(*touched.sides)
        values, n_users, rank = snapshot.spectrum.values, touched.n_users, vectors.shape[1]
        # The entries of users are in the first half, those of items in the other: an odd power changes sides.
        self.vectors = vectors.new_zeros(len(vectors), 2 * rank)
        self.vectors[:n_users, :rank], self.vectors[n_users:, rank:] = vectors[:n_users], vectors[n_users:]
        self.weighted = [self.vectors] * 2  # of powers below 2, which need none
        for exponent in range(2, len(self.weights)):
            weighted = self.vectors * (values**exponent).repeat(2)
            self.weighted.append(weighted.roll(rank, dims=1) if exponent % 2 else weighted)
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
