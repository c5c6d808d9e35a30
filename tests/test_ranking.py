"""Recall and NDCG from embeddings against RecBole's own evaluation and against explicit numpy."""

import numpy as np
import pytest
import torch
from conftest import tiny_rows, write_atomic
from recbole.trainer import Trainer

from recbole_unlearn.evaluator import ranking
from recbole_unlearn.evaluator.ranking import ranking_metrics
from recbole_unlearn.graph import Graph

N_USERS, N_ITEMS = 12, 9
NONE = torch.empty(0, dtype=torch.long)


def random_graph(n_pairs, seed, exclude=None):
    generator = torch.Generator().manual_seed(seed)
    users = torch.randint(1, N_USERS, (n_pairs,), generator=generator)
    items = torch.randint(1, N_ITEMS, (n_pairs,), generator=generator)
    graph = Graph.from_edges(users, items, N_USERS, N_ITEMS)
    return graph if exclude is None else graph.without(exclude.users, exclude.items)


def example():
    """Final embeddings, what was seen, and what is held out."""
    seen = random_graph(30, seed=0)
    final = torch.randn(N_USERS + N_ITEMS, 4, generator=torch.Generator().manual_seed(1))
    return final, seen, random_graph(25, seed=2, exclude=seen)


def reference(final, seen, held_out, k):
    """One user after another, from the definitions."""
    final = final.double().numpy()
    liked = {}
    for user, item in zip(held_out.users.tolist(), held_out.items.tolist()):
        liked.setdefault(user, set()).add(item)
    recalls, gains = [], []
    for user, items in liked.items():
        hidden = {0, *(set(seen.items[seen.users == user].tolist()) - items)}
        scores = {item: final[user] @ final[N_USERS + item] for item in range(N_ITEMS) if item not in hidden}
        top = sorted(scores, key=scores.get, reverse=True)[:k]
        recalls.append(len(items.intersection(top)) / len(items))
        gain = sum(1 / np.log2(place + 2) for place, item in enumerate(top) if item in items)
        gains.append(gain / sum(1 / np.log2(place + 2) for place in range(min(k, len(items)))))
    return {f"recall@{k}": np.mean(recalls), f"ndcg@{k}": np.mean(gains)}


@pytest.mark.parametrize("k", [1, 3, N_ITEMS, N_ITEMS + 6], ids=["1", "3", "all", "more than there are"])
def test_ranking_is_the_definition(k):
    final, seen, held_out = example()
    result = ranking_metrics(final, seen, held_out, k)
    assert result == pytest.approx(reference(final, seen, held_out, k), rel=1e-5)


def test_more_places_than_items_find_everything():
    final, seen, held_out = example()
    result = ranking_metrics(final, seen, held_out, 50)
    assert result["recall@50"] == pytest.approx(1) and result["ndcg@50"] < 1


@pytest.mark.parametrize("k, times", [(1, 1), (5, 1), (20, 1), (5, 2)])
def test_ranking_agrees_with_recbole(prepared, tmp_path, k, times):
    """Where rows repeat, a held-out pair may be in the training too: it is a positive to find, not an item to hide."""
    write_atomic(tmp_path / "rows" / "tiny" / "tiny.inter", list(tiny_rows()) * times)
    changes = {"data_path": str(tmp_path / "rows"), "topk": [k], "valid_metric": f"NDCG@{k}", "metric_decimal_place": 8}
    run = prepared(epochs=2, **changes)
    data, model = run.data, run.original
    assert data.graph.contains(data.valid.users, data.valid.items).any() == (times > 1)
    trainer = Trainer(run.config, model)
    for loader, seen, held_out in (
        (data.valid_data, data.graph, data.valid),
        (data.test_data, Graph.union(data.graph, data.valid), data.test),
    ):
        expected = trainer.evaluate(loader, load_best_model=False)
        assert ranking_metrics(model.final_embeddings(), seen, held_out, k) == pytest.approx(dict(expected), abs=1e-6)


def test_held_out_items_that_were_seen_are_ranked():
    final, seen, held_out = example()
    seen = Graph.union(seen, held_out.subgraph(held_out.items % 2 == 0))
    assert ranking_metrics(final, seen, held_out, 3) == pytest.approx(reference(final, seen, held_out, 3), rel=1e-5)


def test_users_without_held_out_items_do_not_count():
    final, seen, held_out = example()
    some = held_out.users % 2 == 0
    parts = held_out.subgraph(some), held_out.subgraph(~some)
    sizes = [len(torch.unique(part.users)) for part in parts]
    assert min(sizes) > 0
    whole, *halves = (ranking_metrics(final, seen, part, 3) for part in (held_out, *parts))
    for name in whole:
        assert whole[name] == pytest.approx(np.average([half[name] for half in halves], weights=sizes), rel=1e-5)


@pytest.mark.parametrize("block", [1, 2 * N_ITEMS, 5 * N_ITEMS + 1], ids=["one user", "two", "five"])
def test_blocks_do_not_matter(monkeypatch, block):
    final, seen, held_out = example()
    whole = ranking_metrics(final, seen, held_out, 3)
    monkeypatch.setattr(ranking, "BLOCK", block)
    assert ranking_metrics(final, seen, held_out, 3) == pytest.approx(whole, rel=1e-6)


def test_seen_items_are_not_ranked():
    final, _, held_out = example()
    nothing, everything_else = Graph.from_edges(NONE, NONE, N_USERS, N_ITEMS), random_graph(2000, 3, exclude=held_out)
    assert ranking_metrics(final, nothing, held_out, 2) == pytest.approx(
        reference(final, nothing, held_out, 2), rel=1e-5
    )
    assert ranking_metrics(final, everything_else, held_out, N_ITEMS)["ndcg@9"] == pytest.approx(1)


def test_nobody_held_out_is_nan():
    final, seen, held_out = example()
    result = ranking_metrics(final, seen, held_out.without(held_out.users, held_out.items), 3)
    assert set(result) == {"recall@3", "ndcg@3"} and np.isnan(list(result.values())).all()


def test_embeddings_stay_as_they_are():
    final, seen, held_out = example()
    before = final.clone()
    ranking_metrics(final, seen, held_out, 3)
    assert torch.equal(final, before)
