"""Sampled users, items and interactions by their activity, against plain counts; and what the settings refuse."""

from collections import Counter

import pytest
import torch

from recbole_unlearn.config import Config
from recbole_unlearn.data.pick import picked_edges, picked_nodes
from recbole_unlearn.data.request import described
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.task import prepare_data

N_USERS, N_ITEMS = 42, 33
PICKS = ["active", "inactive", "core", "edge"]


@pytest.fixture
def graph():
    """A graph of skewed degrees, with users and items that have no edge."""
    generator = torch.Generator().manual_seed(0)
    users = 1 + (torch.rand(300, generator=generator) ** 2 * (N_USERS - 3)).long()
    items = 1 + (torch.rand(300, generator=generator) ** 2 * (N_ITEMS - 3)).long()
    return Graph.from_edges(users, items, N_USERS, N_ITEMS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def node_scores(graph, side, pick):
    """Edges of each node, or what its partners' edges add up to."""
    edges = list(zip(graph.users.tolist(), graph.items.tolist()))
    own, other = (0, 1) if side == "user" else (1, 0)
    degree, popularity = Counter(edge[own] for edge in edges), Counter(edge[other] for edge in edges)
    if pick in ("active", "inactive"):
        return degree
    return {node: sum(popularity[edge[other]] for edge in edges if edge[own] == node) for node in degree}


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("pick", PICKS)
def test_nodes_come_from_their_quarter_and_all_of_it(graph, side, pick):
    scores = node_scores(graph, side, pick)
    size = -(-len(scores) // 4)
    ordered = sorted(scores.values(), reverse=pick in ("active", "core"))
    drawn = {node for seed in range(60) for node in picked_nodes(graph, side, pick, 3, seeded(seed)).tolist()}
    limit = ordered[size - 1]
    if pick in ("active", "core"):
        assert {node for node in scores if scores[node] > limit} <= drawn
        assert all(scores[node] >= limit for node in drawn)
    else:
        assert {node for node in scores if scores[node] < limit} <= drawn
        assert all(scores[node] <= limit for node in drawn)


@pytest.mark.parametrize("pick", PICKS)
def test_edges_come_from_their_quarter(graph, pick):
    degrees = graph.degrees().double().numpy()
    scores = degrees[graph.users] * (degrees[N_USERS + graph.items] if pick in ("core", "edge") else 1)
    mask = picked_edges(graph, pick, 20, seeded())
    limit = sorted(scores, reverse=pick in ("active", "core"))[-(-len(graph) // 4) - 1]
    chosen = scores[mask.numpy()]
    assert mask.sum() == 20
    assert (chosen >= limit).all() if pick in ("active", "core") else (chosen <= limit).all()


@pytest.mark.parametrize("pick", ["random", *PICKS])
def test_more_than_a_quarter_takes_the_extreme_ones(graph, pick):
    present = torch.unique(graph.users)
    assert picked_nodes(graph, "user", pick, len(present), seeded()).sort().values.equal(present)
    half = picked_nodes(graph, "user", pick, len(present) // 2, seeded())
    assert len(torch.unique(half)) == len(present) // 2
    if pick == "active":
        degree = torch.bincount(graph.users)
        assert degree[half].sum() == degree[present].sort(descending=True).values[: len(half)].sum()


def test_equal_nodes_come_in_random_order():
    users = torch.arange(1, 41)
    same = Graph.from_edges(users, torch.ones_like(users), 41, 3)
    drawn = {user for seed in range(40) for user in picked_nodes(same, "user", "active", 5, seeded(seed)).tolist()}
    assert drawn == set(users.tolist())


@pytest.mark.parametrize("kind", ["random", "user", "item"])
def test_a_request_picks_by_the_setting_and_says_so(configure, kind):
    size = {}
    for pick in ("random", *PICKS):
        changes = {"forget_type": kind, "forget_ratio": 0.1, "forget_pick": pick}
        data, again = (prepare_data(configure(**changes)) for _ in range(2))
        assert data.request.summary()["pick"] == pick
        assert described({"type": kind, **data.request.summary()}) == (kind if pick == "random" else f"{kind}, {pick}")
        assert torch.equal(data.request.users, again.request.users)
        degrees = data.graph.degrees()
        size[pick] = degrees[data.graph.n_users + data.request.items].float().mean()
    assert size["core"] > size["edge"]
    if kind == "item":
        assert size["active"] > size["random"] > size["inactive"]


@pytest.mark.parametrize("other", [{"forget_users": "u3"}, {"forget_type": "item", "forget_items": "i3"}])
def test_named_nodes_are_not_picked(configure, other):
    with pytest.raises(UsageError, match="'forget_(users|items)' and 'forget_pick' each say what to forget"):
        configure(**{"forget_type": "user", "forget_pick": "core", **other})


def test_what_picks_nothing_refuses_a_pick(configure):
    with pytest.raises(UsageError, match="'forget_pick' needs forget_type 'random' or 'user' or 'item', not 'spam'"):
        configure(forget_type="spam", forget_pick="core")
    with pytest.raises(UsageError, match="forget_pick 'cor'. Did you mean 'core'"):
        configure(forget_type="user", forget_pick="cor")


def test_all_settings_together_make_the_same_configuration(configure):
    config = configure(forget_type="user", forget_pick="edge")
    again = Config("LightGCN", "tiny", config_dict=config.as_dict())
    assert again.as_dict() == config.as_dict()
