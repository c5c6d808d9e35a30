"""A shard's data: its own nodes, its validation pairs, users who have all its items; and a shard that holds everything."""

import pytest
import torch
from test_sharded import scores

from recbole_unlearn.config import Config
from recbole_unlearn.data.copies import with_edges_of
from recbole_unlearn.method import METHODS
from recbole_unlearn.method.sharded.shard import ShardData, in_all_data, nodes_of
from recbole_unlearn.model import dataset_graph
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import train_backbone


@pytest.fixture
def run(configure):
    config = configure(topk=[2], valid_metric="NDCG@2")
    return config, prepare_data(config)


def shard_of(run, graph):
    config, data = run
    return ShardData.of(config, data.train, data.valid_data._dataset, graph, [graph])


def pairs(graph, nodes=None):
    """Of a graph, or with the nodes' ids in all data of a shard's."""
    users, items = graph.users, graph.items
    if nodes is not None:
        users, items = nodes[0][users - 1], nodes[1][items - 1]
    return set(zip(users.tolist(), items.tolist()))


def test_a_shard_knows_its_nodes_edges_and_the_validation_pairs_between_them(run):
    data = run[1]
    graph = data.graph.subgraph((data.graph.users % 4 == 1) & (data.graph.items % 2 == 0))
    users, items = nodes = nodes_of(graph)
    shard = shard_of(run, graph)
    (part,) = shard.parts
    assert pairs(dataset_graph(part), nodes) == pairs(graph)
    assert (part.user_num, part.item_num) == (len(users) + 1, len(items) + 1)
    inside = {(u, i) for u, i in pairs(data.valid) if u in users and i in items}
    assert inside and pairs(dataset_graph(shard.valid_data._dataset), nodes) == inside
    ranked = [u for u in range(1, part.user_num) if shard.valid_data.uid2items_num[u]]
    hidden = {(users[u - 1].item(), items[i - 1].item()) for u in ranked for i in shard.valid_data.uid2history_item[u]}
    whose = {users[u - 1].item() for u in ranked}
    assert hidden == {(u, i) for u, i in pairs(graph) if u in whose}


def test_a_table_of_a_shard_in_all_data_is_zero_elsewhere(run):
    data = run[1]
    graph = data.graph.subgraph(data.graph.users % 4 == 1)
    users, items = nodes_of(graph)
    table = torch.randn(len(users) + len(items) + 2, 3)
    whole = in_all_data(table, graph)
    assert torch.equal(whole[users], table[1 : 1 + len(users)]) and torch.equal(
        whole[items + graph.n_users], table[2 + len(users) :]
    )
    assert whole.shape == (graph.n_nodes, 3) and int(whole.any(dim=1).sum()) == len(users) + len(items)


def test_without_validation_pairs_or_items_to_rank_there_is_no_early_stopping(run):
    data = run[1]
    only = data.graph.subgraph(torch.arange(len(data.graph)) == 0)  # one user with one item
    assert shard_of(run, only).valid_data is None


@pytest.mark.parametrize("slices", [1, 2])
def test_a_user_with_all_items_of_a_shard_is_trained_around(prepared, monkeypatch, slices):
    """Nothing can be ranked below that user's items, which are all of a first slice; the others' are."""
    prepared_run = prepared(unlearn_methods="SISA", unlearn_sisa_shards=2, unlearn_sisa_slices=slices)
    graph = prepared_run.data.graph
    loved = torch.isin(graph.items, graph.items[graph.users == 1])

    def partition(self):
        self.slice = (graph.users != 1).long()
        return (~loved).long(), 2, 0.0

    monkeypatch.setattr(METHODS["SISA"], "partition", partition)
    method = METHODS["SISA"](prepared_run.config, prepared_run.data, prepared_run.original)
    method.prepare()
    (stage,) = method.unlearn()
    assert torch.isfinite(scores(stage.model)).all()
    table = method.shards[0][0]
    assert table[1].any() and table[2].any()


def test_a_shard_is_the_same_whatever_other_shards_hold(run):
    """So that one which a request does not touch is as if the forgotten edges had never been."""
    config, data = run
    inside = data.graph.users % 4 == 1
    graph = data.graph.subgraph(inside)
    elsewhere = with_edges_of(data.train, data.graph.subgraph(inside | (data.graph.items % 3 == 1)))
    one, other = (
        ShardData.of(config, train, data.valid_data._dataset, graph, [graph]) for train in (data.train, elsewhere)
    )
    assert pairs(dataset_graph(one.parts[0])) == pairs(dataset_graph(other.parts[0]))
    histories = [[h.tolist() for h in shard.valid_data.uid2history_item if h is not None] for shard in (one, other)]
    assert histories[0] == histories[1] and any(histories[0])


@pytest.mark.parametrize("mode", ["uni20", "pop20"])
def test_shards_stop_early_on_sampled_items_too(prepared, mode):
    prepared_run = prepared(unlearn_methods="SISA", eval_args={"mode": mode}, unlearn_measure_on="valid")
    method = METHODS["SISA"](prepared_run.config, prepared_run.data, prepared_run.original)
    method.prepare()
    assert torch.isfinite(scores(method.model)).all()


def test_one_shard_of_everything_is_the_original_model(prepared, monkeypatch):
    prepared_run = prepared(unlearn_methods="SISA", unlearn_sisa_shards=1)
    monkeypatch.setattr(Config, "stream", lambda config, *purpose: config)  # both trainings draw the same
    data = prepared_run.data
    original = train_backbone(prepared_run.config, data.train, "original", data.valid_data).model
    assert (
        prepared_run.data.graph.degrees() > 0
    ).sum() == prepared_run.data.graph.n_nodes - 2  # no node but the paddings is left out
    method = METHODS["SISA"](prepared_run.config, prepared_run.data, prepared_run.original)
    method.prepare()
    ours, originals = scores(method.model), scores(original)
    assert torch.equal(ours.view(41, 31)[1:, 1:], originals.view(41, 31)[1:, 1:])


@pytest.mark.parametrize("name, slices", [("GraphEraser", 1), ("RecEraser", 1), ("SISA", 1), ("SISA", 2)])
def test_a_forgotten_node_keeps_nothing_in_its_shards(prepared, name, slices):
    prepared_run = prepared(unlearn_methods=name, forget_type="user", forget_ratio=0.05, unlearn_sisa_slices=slices)
    method = METHODS[name](prepared_run.config, prepared_run.data, prepared_run.original)
    method.prepare()
    (stage,) = method.unlearn()
    gone = torch.unique(prepared_run.data.request.users)
    assert len(gone) and all(
        not torch.equal(*(model.final_embeddings()[u] for model in (method.model, stage.model))) for u in gone
    )
    assert not stage.model.final_embeddings()[gone].any()
