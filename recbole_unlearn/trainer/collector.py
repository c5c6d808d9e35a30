"""RecBole's collector of rankings, without its matrix of positives."""

from typing import Any

import torch
from recbole.evaluator.collector import Collector

from recbole_unlearn.top import top_columns

WHOLE = ("rec.meanrank", "rec.score", "data.label")  # what a metric may need of all scores


class TopCollector(Collector):
    """Collects what metrics of the first K need, with one look at the scores instead of five.

    RecBole ranks twice, and fills and sums a matrix with an entry for each user and item. Metrics that need more than
    the first K get all of RecBole's.
    """

    def eval_batch_collect(
        self, scores_tensor: torch.Tensor, interaction: Any, positive_u: torch.Tensor, positive_i: torch.Tensor
    ) -> None:
        """Collect a batch: scores ``(B, n)``, and the rows and items of its positives."""
        if any(self.register.need(name) for name in WHOLE):
            super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)
            return
        n_users, n_items = scores_tensor.shape
        items = top_columns(scores_tensor, max(self.topk))
        if self.register.need("rec.items"):
            self.data_struct.update_tensor("rec.items", items)
        if self.register.need("rec.topk"):
            positives = torch.unique(positive_u * n_items + positive_i).to(items.device)
            rows = torch.arange(n_users, device=items.device)[:, None]
            hits = torch.isin(rows * n_items + items, positives)
            counts = torch.bincount(positives // n_items, minlength=n_users)
            self.data_struct.update_tensor("rec.topk", torch.cat([hits, counts[:, None]], dim=1).int())
