"""Aggregations against their formulas."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from recbole_unlearn.method.sharded.aggregation import (
    AttentionAggregator,
    learned_weights,
    table_model,
    weighted_concatenation,
)


def tables(n_shards=3, n_nodes=72, dimension=8):
    return torch.randn(n_shards, n_nodes, dimension, generator=torch.Generator().manual_seed(0))


def test_score_of_the_concatenation_is_the_weighted_sum(prepared):
    run = prepared()
    weights, parts = [0.5, 0.0, 2.0], tables()
    model = table_model(run.config, run.data.train, weighted_concatenation(parts, weights), run.data.graph)
    users, items = run.data.request.users, run.data.request.items
    expected = sum(w * (t[users] * t[items + model.n_users]).sum(dim=1) for w, t in zip(weights, parts))
    batch = {model.USER_ID: users, model.ITEM_ID: items}
    torch.testing.assert_close(model.predict(batch), expected, rtol=1e-4, atol=1e-4)


def test_learned_weights_minimise_the_loss():
    generator = np.random.default_rng(0)
    differences = generator.normal(size=(500, 3)) + [1.0, 0.0, -1.0]

    def loss(w):
        return np.logaddexp(0, -differences @ w).mean() + 0.01 * np.linalg.norm(w)

    weights = learned_weights(differences, 0.01)
    assert weights[0] > 0.5 and weights[2] == 0  # the harmful shard is left out, not subtracted
    for _ in range(200):
        other = np.clip(weights + 0.05 * generator.normal(size=3), 0, None)
        assert loss(weights) <= loss(other) + 1e-9


def test_weights_of_no_triples_are_equal():
    assert learned_weights(np.empty((0, 4)), 0.01).tolist() == [0.25] * 4


def test_a_heavier_penalty_gives_smaller_weights():
    differences = np.random.default_rng(0).normal(size=(500, 3)) + 1
    light, heavy = (np.linalg.norm(learned_weights(differences, penalty)) for penalty in (1e-4, 0.1))
    assert heavy < light


@pytest.fixture
def aggregator(prepared):
    run = prepared(n_layers=2)
    present = torch.rand(3, 72, generator=torch.Generator().manual_seed(1)) > 0.3
    present[:, 5] = False
    present[:, 6] = torch.tensor([True, False, False])
    aggregator = AttentionAggregator(run.config, run.data.train, run.original, tables(), present, run.data.graph)
    for parameter in aggregator.parameters():
        torch.nn.init.normal_(parameter)
    return aggregator, present, run


def test_attention_is_its_formula(aggregator):
    aggregator, present, _ = aggregator
    for side, rows in zip(aggregator.sides, (range(0, aggregator.n_users), range(aggregator.n_users, 72))):
        values = {key: value.detach().double().numpy() for key, value in side.state_dict().items()}
        for node in rows:
            shards = [k for k in range(3) if present[k, node]]
            x = [tables()[k, node].double().numpy() @ values["weight"][k] + values["bias"][k, 0] for k in shards]
            hidden = [np.maximum(values["hidden.weight"] @ row + values["hidden.bias"], 0) for row in x]
            alpha = softmax([values["score.weight"][0] @ h for h in hidden]) if shards else []
            expected = sum((a * row for a, row in zip(alpha, x)), np.zeros(8))
            np.testing.assert_allclose(aggregator.ego_embeddings()[node].detach(), expected, rtol=1e-3, atol=1e-4)


def test_scores_go_through_the_backbone(aggregator):
    aggregator, _, run = aggregator
    expected = run.original.forward(aggregator.ego_embeddings(), run.data.graph.adjacency)
    assert torch.equal(aggregator.final_embeddings(), expected)


def test_only_the_attention_trains(aggregator):
    aggregator, _, run = aggregator
    assert {name.split(".")[0] for name, _ in aggregator.named_parameters()} == {"sides"}
    assert not any(side.rows.requires_grad for side in aggregator.sides)
