"""Features of a request's pairs, by the spectrum of what remains at the nodes that the request touches."""

from dataclasses import dataclass

import torch

from recbole_unlearn.encoder.features import features_of_graph, paths_among, table_features
from recbole_unlearn.encoder.spectrum import Spectrum
from recbole_unlearn.encoder.touched import Touched
from recbole_unlearn.graph import Graph


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
