"""RecBole's loader of users whose held-out items are ranked among all items, made from arrays."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from recbole.config import Config
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction

from recbole_unlearn.graph import Graph, dataset_graph


class FullSortLoader(FullSortEvalDataLoader):
    """RecBole's loader without a Python set and two tensors a user, which take most of a large data set's loading.

    It gives the same batches. A user who has interacted with every item is ranked, where RecBole refuses the data.

    Args:
        config: settings.
        dataset: the held-out interactions; sorted by user, in place, as RecBole does.
        known: interactions that no ranking shows, unless they are held out here.
    """

    def __init__(self, config: Config, dataset: Dataset, known: Graph):
        self.uid_field, self.iid_field, self.is_sequential = dataset.uid_field, dataset.iid_field, False
        dataset.sort(by=dataset.uid_field, ascending=True)
        self.positives = dataset_graph(dataset)
        self.history = known.without(self.positives.users, self.positives.items)
        self.uid2items_num = self.positives.degrees()[: dataset.user_num].numpy().copy()  # RecBole's users may write
        self.uid_list = torch.from_numpy(np.flatnonzero(self.uid2items_num))
        self.user_df = dataset.join(Interaction({self.uid_field: self.uid_list}))
        self.sample_size = len(self.user_df)
        AbstractDataLoader.__init__(self, config, dataset, None, shuffle=False)

    @cached_property
    def uid2positive_item(self) -> np.ndarray:
        """RecBole's array of each user's held-out items; None for users without any."""
        return self._by_user(self.positives)

    @cached_property
    def uid2history_item(self) -> np.ndarray:
        """RecBole's array of each user's hidden items, which its ``case_study`` reads; None for users not ranked."""
        return self._by_user(self.history)

    def collate_fn(self, index: Sequence[int]) -> tuple:
        """RecBole's batch: users, the rows and items to hide, and the rows and items of positives."""
        users = self.user_df[np.asarray(index)]
        hidden, positive = (graph.items_of(users[self.uid_field]) for graph in (self.history, self.positives))
        return users, hidden, *positive

    def _by_user(self, graph):
        items = np.full(graph.n_users, None)
        rows, of_rows = graph.items_of(self.uid_list)
        parts = of_rows.split(torch.bincount(rows, minlength=len(self.uid_list)).tolist())
        items[self.uid_list.numpy()] = np.fromiter(parts, dtype=object, count=len(parts))
        return items
