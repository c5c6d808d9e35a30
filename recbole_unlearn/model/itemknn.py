"""ItemKNN (Deshpande and Karypis, "Item-Based Top-N Recommendation Algorithms", TOIS 2004), and counts to forget."""

import numpy as np
import torch
from recbole.config import Config
from recbole.data.dataset import Dataset

from recbole_unlearn.gram import cooccurrences, lost_cooccurrences, sparse_rows, take_away
from recbole_unlearn.graph import Graph
from recbole_unlearn.model.exact import ExactSettings, LinearRecommender, State
from recbole_unlearn.model.recommender import MODELS
from recbole_unlearn.settings import Count, Weight, setting

BLOCK = 2**21  # similarities sorted at a time: 16 MiB


class ItemKNNSettings(ExactSettings):
    """The model"""

    k: Count = setting(100, "The neighborhood size.", "RecBole's.")
    shrink: Weight = setting(0.0, "A normalization parameter to calculate cosine distance.", "RecBole's.")


@MODELS.register
class ItemKNN(LinearRecommender):
    """Scores an item by the user's interactions with its ``k`` nearest items by shrunk cosine.

    ``W_ij = C_ij / (sqrt(C_ii C_jj) + shrink + 1e-6)``, with ``C = X'X``, for the ``k`` items ``i`` whose similarity to
    ``j`` is largest, of equal ones those with smaller ids; RecBole's class computes in float32 and leaves it open which
    of equal ones it takes.

    The state has the counts ``C`` (int32, ``4 n_items^2`` bytes: 55 MB for 3,706 items), so that a request subtracts
    what it takes from them, and each item's neighbours by id. An item that loses an edge changes all similarities to
    it, and its own neighbours are ranked anew. Those of any other item stay while they are ahead of all the rest, and
    only similarities to changed items are computed there; if not, they are ranked anew too. The result is a refit's,
    bit for bit.
    """

    settings = ItemKNNSettings

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.k, self.shrink = min(config["k"], self.n_items), float(config["shrink"])

    def layout(self) -> dict:
        of_items = (self.n_items, self.k)
        kinds = {"counts": (torch.int32, (self.n_items,) * 2), "neighbours": (torch.int32, of_items)}
        return {**kinds, "similarities": (torch.float64, of_items)}

    def set_state(self, state):
        super().set_state(state)
        neighbours = self.state["neighbours"]
        if len(neighbours) and not 0 <= int(neighbours.min()) <= int(neighbours.max()) < self.n_items:
            raise ValueError("its neighbours are no items")

    def fit(self, graph: Graph) -> State:
        counts = cooccurrences(graph)
        return self._state(counts, *self._ranked(counts, np.arange(self.n_items)))

    def forget(self, gone: Graph, remaining: Graph) -> State:
        changed, losses = lost_cooccurrences(gone, remaining)
        take_away(self.state["counts"], changed, losses)
        counts, neighbours, similarities = (self.state[name].cpu().numpy() for name in self.layout())
        outdated = self._update(counts, neighbours, similarities, changed)
        neighbours[outdated], similarities[outdated] = self._ranked(counts, outdated)
        return self._state(counts, neighbours, similarities)

    def _update(self, counts, neighbours, similarities, changed):
        """Compute the neighbours' similarities to changed items, in place; returns the items with other neighbours."""
        place = np.full(self.n_items, -1)
        place[changed] = np.arange(len(changed))
        places = place[neighbours]
        rows, columns = np.nonzero(places >= 0)
        of_changed = self._similarities(counts, changed)
        last_before = _last(neighbours, similarities)
        similarities[rows, columns] = of_changed[places[rows, columns], rows]
        last = _last(neighbours, similarities)
        not_behind = (~_is_behind(of_changed, changed[:, None], *last)).sum(axis=0)
        outdated = not_behind != np.bincount(rows, minlength=self.n_items)  # more: one that is no neighbour is ahead
        outdated |= _is_behind(*last, *last_before)
        outdated[changed] = True
        return np.flatnonzero(outdated)

    def _similarities(self, counts, items):
        """Similarities of some items to all, shape ``(n, n_items)``."""
        roots = np.sqrt(counts.diagonal().astype(np.float64))
        return counts[items] / (roots[items, None] * roots + (self.shrink + 1e-6))

    def _ranked(self, counts, items):
        """The neighbours of some items, ascending, and their similarities, shape ``(n, k)`` each."""
        parts = np.array_split(items, 1 + len(items) * self.n_items // BLOCK)
        return tuple(np.concatenate(part) for part in zip(*(self._ranked_part(counts, part) for part in parts)))

    def _ranked_part(self, counts, items):
        similar = self._similarities(counts, items)
        similar[np.arange(len(items)), items] = 0  # not its own neighbour
        neighbours = _largest(similar, self.k)
        return neighbours.astype(np.int32), np.take_along_axis(similar, neighbours, axis=1)

    def _state(self, counts, neighbours, similarities):
        return dict(zip(self.layout(), map(torch.from_numpy, (counts, neighbours, similarities))))

    def scores(self, users: torch.Tensor) -> torch.Tensor:
        """By items: ``W'`` has ``k`` numbers in each row."""
        neighbours, similarities = self.state["neighbours"], self.state["similarities"]
        starts = torch.arange(0, self.n_items * self.k + 1, self.k, device=neighbours.device)
        size = self.n_items, self.n_items
        weights = torch.sparse_csr_tensor(starts, neighbours.long().view(-1), similarities.view(-1), size=size)
        return (weights @ sparse_rows(self.graph, users).to_dense().t().contiguous()).t()

    def weights(self, items: torch.Tensor) -> torch.Tensor:
        return self._columns(*(self.state[name][items] for name in ("neighbours", "similarities")))

    def refitted_weights(self, items: torch.Tensor) -> torch.Tensor:
        ranked = self._ranked(cooccurrences(self.graph), items.cpu().numpy())
        return self._columns(*(torch.from_numpy(part).to(items.device) for part in ranked))

    def _columns(self, neighbours, similarities):
        columns = similarities.new_zeros(len(neighbours), self.n_items)
        return columns.scatter_(1, neighbours.long(), similarities).t()


def _largest(values, k):
    """The places of each row's ``k`` largest values, ascending; of equal ones those with smaller places."""
    last = np.partition(values, values.shape[1] - k, axis=1)[:, [values.shape[1] - k]]
    chosen, equal = values > last, values == last
    missing = k - chosen.sum(axis=1, keepdims=True)
    several = (equal.sum(axis=1, keepdims=True) > missing).squeeze(1)
    equal[several] &= np.cumsum(equal[several], axis=1) <= missing[several]
    return np.nonzero(chosen | equal)[1].reshape(-1, k)


def _is_behind(similarities, items, others_similarities, others):
    """Whether an item comes after another one as a neighbour: it is less similar, or as similar with a larger id."""
    equal = similarities == others_similarities
    return (similarities < others_similarities) | (equal & (items > others))


def _last(neighbours, similarities):
    """The similarity and the id of each row's last neighbour: of the least similar ones the one with the largest id."""
    rows, k = np.arange(len(neighbours)), neighbours.shape[1]
    column = k - 1 - similarities[:, ::-1].argmin(axis=1)
    return similarities[rows, column], neighbours[rows, column]
