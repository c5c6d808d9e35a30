"""The largest entries of rows, and the collector that ranks with them, against torch's and RecBole's own."""

from types import SimpleNamespace

import pytest
import torch
from recbole.evaluator.collector import Collector
from recbole.trainer import Trainer

from recbole_unlearn.top import GROUP, top_columns
from recbole_unlearn.trainer.collector import TopCollector


@pytest.mark.parametrize("n", [1, 39, 40 * GROUP - 1, 40 * GROUP, 47 * GROUP + 5])
@pytest.mark.parametrize("k", [1, 20])
def test_top_columns_are_those_of_topk(n, k):
    generator = torch.Generator().manual_seed(n)
    scores = torch.stack([torch.randperm(n, generator=generator) for _ in range(7)]).float()
    scores[:, : n // 3] -= torch.inf  # hidden items; where too few are left, any of them may fill the list
    k = min(k, n - n // 3)
    assert torch.equal(top_columns(scores, k), scores.topk(k, dim=1).indices)


def test_equal_entries_fill_the_list_once_each():
    scores = torch.zeros(2, 60 * GROUP)
    scores[0, 5], scores[1, -1] = 1, 1
    columns = top_columns(scores, 20)
    assert columns[:, 0].tolist() == [5, 60 * GROUP - 1] and all(len(row.unique()) == 20 for row in columns)


@pytest.mark.parametrize(
    "metrics", [["Recall", "MRR", "NDCG", "Hit", "MAP", "Precision", "GiniIndex", "ItemCoverage"], ["NDCG", "GAUC"]]
)
def test_a_collector_gives_recboles_metrics(prepared, metrics):
    run = prepared(epochs=2, metrics=metrics, topk=[1, 5], valid_metric="NDCG@5", metric_decimal_place=8)
    results = []
    for collector in (Collector, TopCollector):
        trainer = Trainer(run.config, run.original)
        trainer.eval_collector = collector(run.config)
        trainer.eval_collector.data_collect(SimpleNamespace(dataset=run.data.train))
        results.append(dict(trainer.evaluate(run.data.test_data, load_best_model=False)))
    assert results[0] == results[1]


def test_a_collector_of_many_items_finds_each_positive_once(prepared):
    run = prepared(epochs=2)
    collectors = [Collector(run.config), TopCollector(run.config)]
    generator = torch.Generator().manual_seed(1)
    scores = torch.rand(6, 50 * GROUP + 3, generator=generator)
    rows = torch.tensor([0, 0, 1, 3, 3, 3, 5])
    items = torch.cat([scores[rows[:-1]].argmax(dim=1), torch.tensor([7])])  # the same positive three times
    for collector in collectors:
        collector.eval_batch_collect(scores.clone(), None, rows, items)
    expected, got = (collector.data_struct.get("rec.topk") for collector in collectors)
    assert torch.equal(expected, got) and got[:, -1].tolist() == [1, 1, 0, 1, 0, 1]
