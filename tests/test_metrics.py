"""The forgetting metrics against explicit numpy, and inside RecBole's own evaluation."""

import doctest

import dense
import numpy as np
import pytest
import torch
from recbole.trainer import Trainer

from recbole_unlearn import run_unlearn
from recbole_unlearn.data.sampler import draw_negatives
from recbole_unlearn.evaluator import auc, matching_weights, metrics, mi_bf, mi_ng
from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
from recbole_unlearn.graph import Graph
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import train_backbone

NONE = np.empty(0)


def scores(n, seed=0, levels=None):
    generator = np.random.default_rng(seed)
    return generator.normal(size=n) if levels is None else generator.integers(0, levels, n).astype(float)


def pairwise_auc(first, second, w1, w2):
    wins = total = 0.0
    for a, wa in zip(first, w1):
        for b, wb in zip(second, w2):
            wins += wa * wb * ((a > b) + 0.5 * (a == b))
            total += wa * wb
    return wins / total


def test_docstring_examples():
    result = doctest.testmod(metrics)
    assert result.attempted >= 2 and result.failed == 0


def test_mi_bf_and_mi_ng_are_ratios_of_mean_probabilities():
    before, after, negative = 3 * scores(11), 3 * scores(11, seed=1), 3 * scores(7, seed=2)
    mean_after = dense.sigmoid(after).mean()
    assert mi_bf(before, after) == pytest.approx(dense.sigmoid(before).mean() / mean_after, rel=1e-12)
    assert mi_ng(negative, after) == pytest.approx(dense.sigmoid(negative).mean() / mean_after, rel=1e-12)


def test_mi_bf_is_computed_in_double_precision():
    after = np.full(3, -90.0, dtype=np.float32)  # the probability underflows in single precision
    assert mi_bf(np.zeros(3, dtype=np.float32), after) == pytest.approx(0.5 * (1 + np.exp(90.0)), rel=1e-6)


@pytest.mark.parametrize("value", [mi_bf(NONE, NONE), mi_ng(NONE, scores(3)), mi_ng(scores(3), NONE)])
def test_ratio_of_an_empty_set_is_nan(value):
    assert np.isnan(value)


@pytest.mark.parametrize("levels", [None, 1, 4], ids=["no ties", "all tied", "many ties"])
@pytest.mark.parametrize("weighted", [False, True])
def test_auc_counts_pairs(levels, weighted):
    first, second = scores(23, levels=levels), scores(17, seed=1, levels=levels)
    w1, w2 = (np.abs(scores(23, seed=2)), np.abs(scores(17, seed=3))) if weighted else (np.ones(23), np.ones(17))
    given = (w1, w2) if weighted else ()
    assert auc(first, second, *given) == pytest.approx(pairwise_auc(first, second, w1, w2), rel=1e-12)


def test_auc_of_empty_or_weightless_sets_is_nan():
    assert np.isnan(auc(NONE, scores(3)))
    assert np.isnan(auc(scores(3), NONE))
    assert np.isnan(auc(scores(3), scores(3), np.zeros(3), np.ones(3)))


def test_auc_of_undefined_scores_is_nan():
    assert np.isnan(auc(np.array([1.0, np.nan]), scores(3))) and np.isnan(auc(scores(3), np.array([np.nan])))


def test_auc_is_antisymmetric():
    first, second = scores(20, levels=5), scores(30, seed=1, levels=5)
    assert auc(first, second) + auc(second, first) == pytest.approx(1)


def test_matching_weights_equalise_popularity():
    generator = np.random.default_rng(0)
    target, other = generator.poisson(30, 500), generator.poisson(20, 2000)
    target_weights, other_weights = matching_weights(target, other)
    edges = np.unique(np.quantile(target, np.linspace(0, 1, 11)[1:-1]))
    for low, high in zip([-np.inf, *edges], [*edges, np.inf]):
        in_target, in_other = (target >= low) & (target < high), (other >= low) & (other < high)
        assert target_weights[in_target].sum() == pytest.approx(other_weights[in_other].sum())
    assert target_weights.sum() == pytest.approx(other_weights.sum()) and target_weights.sum() > 400
    matched_mean = np.average(other, weights=other_weights)
    assert abs(matched_mean - target.mean()) < 0.2 * abs(other.mean() - target.mean())


def test_matching_identical_sets_changes_nothing():
    popularity = np.array([1, 5, 5, 9, 30])
    target_weights, other_weights = matching_weights(popularity, popularity)
    assert target_weights.tolist() == other_weights.tolist() == [1] * 5


def test_target_without_counterpart_weighs_nothing():
    target_weights, other_weights = matching_weights(np.array([1] * 5 + [100] * 5), np.array([1, 1]), n_bins=2)
    assert target_weights.tolist() == [1] * 5 + [0] * 5
    assert other_weights.tolist() == [2.5, 2.5]


def test_matching_with_an_empty_set():
    assert [len(weights) for weights in matching_weights(NONE, np.array([1, 2]))] == [0, 2]
    assert not matching_weights(np.array([1, 2]), NONE)[0].any()


@pytest.mark.parametrize("n_pairs", [50, 10**6], ids=["some", "all there are"])
def test_negatives_are_distinct_and_unobserved(configure, n_pairs):
    data = prepare_data(configure())
    observed = Graph.union(*data.observed)
    users, items = draw_negatives(data.observed, n_pairs, torch.Generator().manual_seed(0))
    free = (observed.n_users - 1) * (observed.n_items - 1) - len(observed)
    assert len(users) == len(set(zip(users.tolist(), items.tolist()))) == min(n_pairs, free)
    assert not observed.contains(users, items).any()
    assert users.min() > 0 and items.min() > 0


def test_evaluator_agrees_with_the_dense_scores(prepared):
    run = prepared(epochs=2)
    table = run.original.final_embeddings().double().numpy()
    all_scores = table[: run.original.n_users] @ table[run.original.n_users :].T
    evaluator = UnlearningEvaluator(run.config, run.data, run.original)
    result, _ = evaluator.evaluate(run.original)
    request = run.data.request
    forget = dense.sigmoid(all_scores[request.users, request.items]).mean()
    negative_users, negative_items = evaluator.pairs["negative"]
    negative = dense.sigmoid(all_scores[negative_users, negative_items]).mean()
    assert result["MI-BF"] == pytest.approx(1)
    assert result["MI-NG"] == pytest.approx(negative / forget, rel=1e-5)

    train, test = (np.zeros(all_scores.shape, dtype=bool) for _ in range(2))
    train[run.data.graph.users, run.data.graph.items] = True
    train[run.data.valid.users, run.data.valid.items] = True
    test[run.data.test.users, run.data.test.items] = True
    all_scores[train] = all_scores[:, 0] = -np.inf
    top = np.argsort(-all_scores, axis=1)[:, :5]
    recall = [test[u, top[u]].sum() / test[u].sum() for u in range(len(test)) if test[u].any()]
    assert result["recall@5"] == pytest.approx(np.mean(recall), abs=1e-4)


def test_membership_metrics_in_a_run(settings):
    names = ["Recall", "NDCG", "MI-BF", "MI-NG"]
    report = run_unlearn("LightGCN", "tiny", config_dict={**settings, "metrics": names, "unlearn_methods": "DropEdges"})
    for row in report["results"]:
        assert row["MI-BF"] > 0 and row["MI-NG"] > 0 and 0 <= row["recall@5"] <= 1


def test_membership_metrics_have_no_value_while_the_original_trains(configure, monkeypatch):
    config = configure(metrics=["NDCG", "MI-BF", "MI-NG"])
    data = prepare_data(config)
    seen, valid_epoch = [], Trainer._valid_epoch

    def record(self, *arguments, **named):
        seen.append(valid_epoch(self, *arguments, **named))
        return seen[-1]

    monkeypatch.setattr(Trainer, "_valid_epoch", record)
    train_backbone(config, data.train, "original", data.valid_data)
    assert len(seen) == 2 and all(set(result) == {"ndcg@5"} for _, result in seen)
