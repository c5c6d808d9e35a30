"""The rows of a report: RecBole's metrics of lists, and drawn items that are the same for all of them."""

import numpy as np
import pytest
import torch

from recbole_unlearn import run_unlearn
from recbole_unlearn.errors import UsageError
from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
from recbole_unlearn.graph import Graph
from recbole_unlearn.sweep.space import swept_method
from recbole_unlearn.trainer import train_backbone

OF_LISTS = ["ItemCoverage", "GiniIndex", "AveragePopularity", "TailPercentage", "ShannonEntropy"]


def top(model, data, k=5):
    """The lists of all users with test items, an item a column; what they have otherwise is left out."""
    users = data.test.users.unique()
    scores = model.final_embeddings()[users] @ model.final_embeddings()[model.n_users :].t()
    seen = data.graph.union(data.graph, data.valid)
    everything = torch.arange(model.n_items).expand(len(users), -1)
    scores[seen.contains(users[:, None].expand_as(everything), everything)] = -torch.inf
    scores[:, 0] = -torch.inf
    return scores.topk(k).indices.numpy()


def test_metrics_of_lists_are_about_the_remaining_interactions(prepared):
    run = prepared(metrics=["NDCG", *OF_LISTS], tail_ratio=0.2, forget_ratio=0.3)
    metrics, _ = UnlearningEvaluator(run.config, run.data, run.original).evaluate(run.original)
    lists = top(run.original, run.data)
    counts = np.bincount(run.data.remaining.inter_feat["item_id"].numpy(), minlength=31)
    assert metrics["averagepopularity@5"] == pytest.approx(counts[lists].mean(), abs=1e-4)
    assert metrics["itemcoverage@5"] == pytest.approx(
        len(np.unique(lists)) / 31, abs=1e-4
    )  # RecBole counts the padding
    tail = sorted((count, item) for item, count in enumerate(counts) if count)[: int(0.2 * (counts > 0).sum())]
    assert metrics["tailpercentage@5"] == pytest.approx(np.isin(lists, [item for _, item in tail]).mean(), abs=1e-4)
    listed = np.sort(np.bincount(lists.ravel(), minlength=31))
    gini = ((2 * np.arange(1, 32) - 32) * listed).sum() / (31 * lists.size)
    shares = listed[listed > 0] / lists.size
    assert metrics["giniindex@5"] == pytest.approx(gini, abs=1e-4)
    assert metrics["shannonentropy@5"] == pytest.approx(-(shares * np.log(shares)).mean(), abs=1e-4)


def test_a_valid_metric_of_which_less_is_better(configure, prepared):
    """Training keeps the epoch of the least value, and no sweep takes it for a quality."""
    changes = {
        "metrics": ["NDCG", "GiniIndex"],
        "valid_metric": "GiniIndex@5",
        "epochs": 8,
        "eval_step": 1,
        "stopping_step": 9,
    }
    run = prepared(**changes)
    trained = train_backbone(run.config, run.data.train, "original", run.data.valid_data)
    seen = []
    trainer_of_valid = UnlearningEvaluator(run.config, run.data, trained.model).trainer
    for epochs in range(1, 9):
        model = train_backbone(run.config.replace(epochs=epochs, eval_step=99), run.data.train, "original").model
        trainer_of_valid.model = model
        seen.append(trainer_of_valid.evaluate(run.data.valid_data, load_best_model=False)["giniindex@5"])
    trainer_of_valid.model = trained.model
    assert trainer_of_valid.evaluate(run.data.valid_data, load_best_model=False)["giniindex@5"] == min(seen) < max(seen)
    with pytest.raises(UsageError, match="A sweep keeps `valid_metric` high"):
        swept_method(run.config)


def test_the_paper_s_encoder_trains_with_metrics_of_lists(settings):
    changes = {"metrics": ["NDCG", *OF_LISTS], "unlearn_methods": "UnlearnRec", "ie_target": "negative"}
    rows = run_unlearn("LightGCN", "tiny", config_dict={**settings, **changes}, saved=False)["results"]
    assert len(rows) == 3 and all(row["averagepopularity@5"] > 0 for row in rows)


@pytest.mark.parametrize("mode", ["uni7", "pop7"])
def test_drawn_items_are_the_same_at_every_evaluation(configure, prepared, mode):
    run = prepared(eval_args={"mode": mode})

    def drawn(loader):
        return [(batch["user_id"].tolist(), batch["item_id"].tolist()) for batch, *_ in loader]

    def global_state():
        return np.random.get_state()[1].tolist(), np.random.get_state()[2]

    before = global_state()
    first = drawn(run.data.test_data)
    assert global_state() == before and drawn(run.data.test_data) == first
    np.random.seed(99)
    assert drawn(run.data.test_data) == first != drawn(run.data.valid_data)
    users, items = (torch.tensor([x for batch in first for x in batch[side]]) for side in (0, 1))
    observed = Graph.union(*run.data.observed)
    assert len(items) == 8 * len(run.data.test) and observed.contains(users, items).sum() == len(run.data.test)
    few = prepared(eval_args={"mode": mode}, eval_batch_size=20)
    assert [sum(lists, []) for lists in zip(*drawn(few.data.test_data))] == [users.tolist(), items.tolist()]
    evaluator = UnlearningEvaluator(run.config, run.data, run.original)
    assert evaluator.evaluate(run.original)[0] == evaluator.evaluate(run.original)[0]
    other = prepared(eval_args={"mode": mode}, seed=8)
    assert drawn(other.data.test_data) != first


@pytest.mark.parametrize("metrics", [["NDCG"], ["NDCG", "GAUC"]], ids=["top", "all scores"])
def test_lists_end_where_a_user_has_no_more_candidates(prepared, metrics):
    run = prepared(eval_args={"mode": "uni5"}, topk=[20], valid_metric="NDCG@20", metrics=metrics, eval_batch_size=90)
    _, arrays = UnlearningEvaluator(run.config, run.data, run.original).evaluate(run.original)
    table = run.original.final_embeddings().detach()
    of_users = {}
    for batch, *_ in run.data.test_data:
        for user, item in zip(batch["user_id"].tolist(), batch["item_id"].tolist()):
            of_users.setdefault(user, set()).add(item)
    assert arrays["lists"].shape[0] == len(of_users) and max(map(len, of_users.values())) < 20
    for ranked, (user, candidates) in zip(arrays["lists"], of_users.items()):
        scores = table[user] @ table[run.data.graph.n_users + torch.tensor(sorted(candidates))].t()
        best_first = [item for _, item in sorted(zip(scores.tolist(), sorted(candidates)), reverse=True)]
        assert ranked.tolist() == best_first + [-1] * (20 - len(candidates))


def test_a_pairwise_model_without_negatives_is_refused(prepared):
    with pytest.raises(UsageError, match="LightGCN learns from pairs: `train_neg_sample_args`"):
        prepared(train_neg_sample_args=None)
