"""Loaders of training batches and of held-out pairs, and their draws of negative items."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from recbole.config import Config
from recbole.data.dataloader import NegSampleEvalDataLoader, TrainDataLoader
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.sampler import Sampler
from recbole.utils import InputType

from recbole_unlearn.data.copies import with_edges
from recbole_unlearn.errors import NoResult, UsageError
from recbole_unlearn.graph import Graph, dataset_graph, in_any
from recbole_unlearn.streams import stream_seed


class EdgeSampler(Sampler):
    """RecBole's sampler of items that a user has no edge to, by binary search in the sorted edges.

    It draws as RecBole does (same distributions, numpy's global generator). Only the test whether a drawn item is an
    edge differs: a binary search in numpy, O(log E) for each draw, instead of one Python set for each user.

    Args:
        dataset: built; gives the id space and the popularity.
        distribution: ``uniform`` or ``popularity``.
        alpha: power of the popularity.
        graph: edges that are never drawn; default the dataset's own.

    Raises:
        NoResult: a user has interacted with every item that anybody has, so that there is no negative item.
    """

    def __init__(self, dataset: Dataset, distribution: str = "uniform", alpha: float = 1.0, graph: Graph | None = None):
        self.graph = dataset_graph(dataset) if graph is None else graph
        super().__init__("train", dataset, distribution, alpha)
        self.phase = "train"

    def get_used_ids(self) -> np.ndarray:
        """All edges as sorted numbers ``user * n_items + item``, shape ``(E,)``."""
        graph = self.graph
        full = torch.nonzero(_has_all_items(graph)).flatten()
        if len(full):
            raise NoResult(
                f"{len(full)} user(s) interacted with every item that anybody has, so no negative item "
                "can be drawn; leave them out with `user_inter_num_interval`, or forget less."
            )
        return (graph.users * graph.n_items + graph.items).numpy()

    def sample_by_key_ids(self, key_ids: Sequence[int] | np.ndarray | torch.Tensor, num: int) -> torch.Tensor:
        """Draw ``num`` items per user, shape ``(len(key_ids) * num,)``, in RecBole's order (all users, then again)."""
        users = np.tile(np.asarray(key_ids), num)
        items = np.zeros(len(users), dtype=np.int64)
        pending = np.arange(len(users))
        while len(pending):
            items[pending] = self.sampling(len(pending))
            pairs = users[pending] * self.item_num + items[pending]
            order = np.argsort(pairs)  # a search for ascending numbers finds most of what it needs in the cache
            place = np.minimum(np.searchsorted(self.used_ids, pairs[order]), len(self.used_ids) - 1)
            drawn_again = order[self.used_ids[place] == pairs[order]] if len(self.used_ids) else order[:0]
            pending = pending[np.sort(drawn_again)]
        return torch.from_numpy(items)


class BatchLoader(TrainDataLoader):
    """RecBole's training loader, which takes a batch's rows as one tensor instead of one by one."""

    def __init__(self, config: Config, dataset: Dataset, sampler: Sampler | None, shuffle: bool):
        super().__init__(config, dataset, sampler, shuffle=shuffle and len(dataset) > 0)  # torch shuffles no empty data

    def __iter__(self) -> Iterator[Interaction]:
        feat = self._dataset.inter_feat
        order = torch.randperm(len(feat), generator=self.generator) if self.shuffle else torch.arange(len(feat))
        for rows in order.split(self.step):
            batch = Interaction({field: feat[field].index_select(0, rows) for field in feat})
            yield self._neg_sampling(self.transform(self._dataset, batch))


class SameNegativesLoader(NegSampleEvalDataLoader):
    """RecBole's loader of held-out pairs with ``N`` drawn items each (``uniN``, ``popN``), always the same.

    RecBole draws from numpy's global stream, so that two evaluations of one model differ. Here the draws have their own
    stream, seeded by the run's seed and the part, so that every model ranks among the same items.
    """

    def __iter__(self):
        seed = stream_seed(self.config["seed"], "ranked negatives", self._sampler.phase)
        self._stream = np.random.RandomState(seed).get_state()
        return super().__iter__()

    def collate_fn(self, index: Sequence[int]) -> tuple:
        """RecBole's batch of users: their held-out pairs and the drawn ones."""
        outside = np.random.get_state()
        np.random.set_state(self._stream)
        try:
            return super().collate_fn(index)
        finally:
            self._stream = np.random.get_state()
            np.random.set_state(outside)


def rankable(dataset: Dataset) -> Dataset:
    """The dataset without the interactions of users who have all its items, and so no negative item.

    Without those users an item may lose its last interaction, and other users may then have all items that are left.
    """
    full = _has_all_items(dataset_graph(dataset))
    if not full.any():
        return dataset
    return rankable(with_edges(dataset, ~full[dataset.inter_feat[dataset.uid_field]]))


def _has_all_items(graph):
    """Whether each user has all items that have an edge, shape ``(n_users,)``: draws by popularity skip the others."""
    of_users, of_items = graph.degrees().split([graph.n_users, graph.n_items])
    return (of_users > 0) & (of_users == (of_items > 0).sum())


def train_loader(config: Config, dataset: Dataset, graph: Graph | None = None) -> BatchLoader:
    """Batches of a dataset, with negatives by :class:`EdgeSampler` if the settings want some.

    Args:
        config: settings of the training.
        dataset: built.
        graph: its edges, if they are at hand; this saves a sort.

    Raises:
        UsageError: the model is pairwise, and the settings draw no negative items.
    """
    arguments = config["train_neg_sample_args"]
    sampler = None
    if arguments["distribution"] == "none" and config["MODEL_INPUT_TYPE"] == InputType.PAIRWISE:
        raise UsageError(f"{config['model']} learns from pairs: `train_neg_sample_args` must have a `distribution`.")
    if arguments["distribution"] != "none":
        sampler = EdgeSampler(dataset, arguments["distribution"], arguments["alpha"], graph)
    return BatchLoader(config, dataset, sampler, shuffle=config["shuffle"])


def draw_negatives(
    observed: Sequence[Graph], n_pairs: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw distinct pairs uniformly among those that are no edge of any graph of ``observed``.

    Args:
        observed: graphs on the same nodes, on the CPU: training, validation and test edges.
        n_pairs: pairs wanted; the result has fewer only if fewer exist.
        generator: of the draw.

    Returns:
        Users and items, int64, shape ``(n_pairs,)`` each.
    """
    n_users, n_items = observed[0].n_users, observed[0].n_items
    least_free = (n_users - 1) * (n_items - 1) - sum(map(len, observed))
    if least_free <= 4 * n_pairs:  # perhaps too few to draw by rejection: list them
        everything = torch.cartesian_prod(torch.arange(1, n_users), torch.arange(1, n_items))
        free = everything[~in_any(observed, *everything.t())]
        free = free[torch.randperm(len(free), generator=generator)[:n_pairs]]
        return free[:, 0], free[:, 1]
    drawn = Graph.from_edges(torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long), n_users, n_items)
    while len(drawn) < n_pairs:
        users = torch.randint(1, n_users, (2 * n_pairs,), generator=generator)
        items = torch.randint(1, n_items, (2 * n_pairs,), generator=generator)
        free = ~in_any(observed, users, items)
        drawn = Graph.from_edges(
            torch.cat([drawn.users, users[free]]), torch.cat([drawn.items, items[free]]), n_users, n_items
        )
    chosen = torch.randperm(len(drawn), generator=generator)[:n_pairs]
    return drawn.users[chosen], drawn.items[chosen]
