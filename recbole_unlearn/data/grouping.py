"""Rows by the user or item that they are of: who has too few or too many, and the split of each one's rows."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset as RecBoleDataset
from recbole.utils import FeatureType

from recbole_unlearn.data.settings import NO_INTERVAL


class GroupingDataset(RecBoleDataset):
    """RecBole's Dataset, with arrays where it goes row by row in Python; the results are equal."""

    inter_feat: Any  # RecBole's table, after build() an Interaction

    def _concat_remaped_tokens(self, remap_list):
        """As RecBole's, without a Python object for each cell, unless there are sequences."""
        if any(kind != FeatureType.TOKEN for *_, kind in remap_list):
            return super()._concat_remaped_tokens(remap_list)
        columns = [feat[field] for feat, field, _ in remap_list]
        return pd.concat(columns).array, np.cumsum(list(map(len, columns)))[:-1]

    def _filter_by_inter_num(self):
        keys = {self.uid_field: "user_inter_num_interval", self.iid_field: "item_inter_num_interval"}
        if all(self.config[key] in (None, NO_INTERVAL) for key in keys.values()):
            return
        features = {self.uid_field: self.user_feat, self.iid_field: self.item_feat}
        intervals = {field: self._parse_intervals_str(self.config[key]) for field, key in keys.items()}
        codes, tokens = zip(*(pd.factorize(self.inter_feat[field]) for field in keys))
        # RecBole wants the first interval's least number of users and items that have features.
        least = {field: of[0][1] if of else 0 for field, of in intervals.items()}
        nobody: list[str] = []
        described = {
            field: names.isin(nobody if features[field] is None else features[field][field])
            for field, names in zip(keys, tokens)
        }

        def allows(field, counts):
            fits = self._within_intervals(counts, intervals[field] or [("[", 0, np.inf, "]")])
            return fits & ((counts >= least[field]) | ~described[field])

        kept, dropped = rows_within(codes, [partial(allows, field) for field in keys])
        for name, field, of_rows, names, out in zip(("user_feat", "item_feat"), keys, codes, tokens, dropped):
            table = features[field]
            if table is not None:
                counts = pd.Series(np.bincount(of_rows[kept], minlength=len(names)), index=names)
                too_few = table[field].map(counts).fillna(0) < least[field]
                setattr(self, name, table[~(too_few | table[field].isin(names[out]))])
        self.inter_feat = self.inter_feat[kept]

    def split_by_ratio(self, ratios: list[float], group_by: str | None = None) -> list:
        """Split the interactions, or those of each user; see RecBole's Dataset."""
        if group_by is None:
            return super().split_by_ratio(ratios)
        shares = [ratio / sum(ratios) for ratio in ratios]
        return self._split_groups(group_by, partial(self._calcu_split_ids, ratios=shares), len(shares))

    def leave_one_out(self, group_by: str, leave_one_mode: str) -> list:
        """Hold out each user's last interactions; see RecBole's Dataset."""
        if leave_one_mode != "valid_and_test":  # which settings refuse
            return super().leave_one_out(group_by, leave_one_mode)
        return self._split_groups(group_by, lambda n_rows: (max(1, n_rows - 2), max(1, n_rows - 1)), 3)

    def _split_groups(self, field, ends_of, n_parts):
        """Datasets of the parts of each user's interactions; RecBole groups row by row, in Python."""
        codes, _ = pd.factorize(self.inter_feat[field].numpy())  # RecBole's order of users: as they first appear
        parts = parts_of_groups(codes, ends_of, n_parts)
        self._drop_unused_col()
        return [self.copy(self.inter_feat[torch.from_numpy(part)]) for part in parts]


def rows_within(
    sides: Sequence[np.ndarray], allowed: Sequence[Callable[[np.ndarray], np.ndarray]]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Drop ids with too few or too many rows until no further id has (for a lower limit, the k-core).

    Args:
        sides: ids of the rows, users' and items', int64 from 0, shape ``(rows,)`` each.
        allowed: for each side, takes numbers of rows and says which are allowed.

    Returns:
        Whether each row is left, shape ``(rows,)``, and for each side whether each id was dropped. An id that loses all
        its rows with ids of the other side is not dropped.
    """
    kept = np.ones(len(sides[0]), dtype=bool)
    dropped = [np.zeros(ids.max(initial=-1) + 1, dtype=bool) for ids in sides]
    while True:
        for ids, fits, out in zip(sides, allowed, dropped):
            counts = np.bincount(ids[kept], minlength=len(out))
            out |= (counts > 0) & ~fits(counts)
        left = kept & ~np.any([out[ids] for ids, out in zip(sides, dropped)], axis=0)
        if left.sum() == kept.sum():
            return kept, dropped
        kept = left


def parts_of_groups(ids: np.ndarray, ends_of: Callable[[int], Sequence[int]], n_parts: int) -> list[np.ndarray]:
    """Split each id's rows, in their order, into the same number of parts.

    Args:
        ids: of the rows, int64 from 0, shape ``(rows,)``.
        ends_of: takes an id's number of rows; returns where its parts end, the last one left out.
        n_parts: number of parts.

    Returns:
        The positions of each part's rows, id by id.
    """
    sizes = np.bincount(ids)
    order = np.argsort(ids, kind="stable")
    place = np.arange(len(ids)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # of a row among its id's
    distinct, kind = np.unique(sizes, return_inverse=True)
    ends = np.array([ends_of(int(size)) for size in distinct], dtype=np.int64).reshape(len(distinct), n_parts - 1)
    part = np.zeros(len(ids), dtype=np.int8)
    for end in ends.T:
        part += place >= np.repeat(end[kind], sizes)
    return [order[part == number] for number in range(n_parts)]
