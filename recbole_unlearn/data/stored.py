"""The dataset of a saved model, as far as a model's constructor reads it."""

from logging import getLogger
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction


class StoredDataset(Dataset):
    """RecBole's Dataset of a model's edges: its sizes, its matrices of interactions and its histories.

    Args:
        config (Config): settings with the names of the id fields.
        users, items: of each edge, shape ``(E,)``.
        n_users, n_items: number of ids, padding included.
    """

    def __init__(self, config: Any, users: torch.Tensor, items: torch.Tensor, n_users: int, n_items: int) -> None:
        self.config, self.logger = config, getLogger()
        self.uid_field, self.iid_field = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
        self.inter_feat = Interaction({self.uid_field: users, self.iid_field: items})
        self.user_feat = self.item_feat = None
        self._sizes = {self.uid_field: n_users, self.iid_field: n_items}

    def num(self, field: str) -> int:
        """The number of ids of a field, padding included."""
        return self._sizes[field]

    def inter_matrix(self, form: str = "coo", value_field: str | None = None) -> Any:
        """The interactions as a sparse matrix of ones, shape ``(n_users, n_items)``."""
        ones = np.ones(len(self.inter_feat), dtype=np.float32)  # RecBole's type: with another one, it sorts the pairs
        pairs = self.inter_feat[self.uid_field].numpy(), self.inter_feat[self.iid_field].numpy()
        return sp.coo_matrix((ones, pairs), shape=(self.user_num, self.item_num)).asformat(form)
