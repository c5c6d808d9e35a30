"""Which shards are retrained, in parallel as in turn, and SISA's slices."""

import pytest
import torch
from recbole.trainer import Trainer

from recbole_unlearn.method import METHODS
from recbole_unlearn.method.sharded import base as sharded
from recbole_unlearn.testing.runs import scores

SHARDED = ["GraphEraser", "RecEraser", "SISA"]


def method_of(run, name):
    method = METHODS[name](run.config, run.data, run.original)
    method.prepare()
    return method


@pytest.fixture
def trained_shards(monkeypatch):
    """The names of the shards that are trained, in order."""
    names, train_shard = [], sharded._train_shard

    def record(model_class, table_of, config, shard, name):
        names.append(name)
        return train_shard(model_class, table_of, config, shard, name)

    monkeypatch.setattr(sharded, "_train_shard", record)
    return names


@pytest.mark.parametrize("name", SHARDED)
def test_only_touched_shards_are_retrained(prepared, trained_shards, name):
    run = prepared(unlearn_methods=name, forget_ratio=1e-9)
    method = method_of(run, name)
    assert len(trained_shards) == 3
    trained_shards.clear()
    (stage,) = method.unlearn()
    position, _ = run.data.graph.find(run.data.request.users, run.data.request.items)
    touched = method.shard[position].item()
    assert trained_shards == ([f"{name}-{touched}"] if touched >= 0 else [])
    assert stage.details["shards retrained"] == f"{len(trained_shards)} of 3"


@pytest.mark.parametrize("name", SHARDED)
def test_the_aggregation_gets_new_tables_of_touched_shards_and_old_ones_of_others(prepared, monkeypatch, name):
    run = prepared(unlearn_methods=name, forget_ratio=1e-9)
    method, given, aggregate = method_of(run, name), [], METHODS[name].aggregate
    monkeypatch.setattr(METHODS[name], "aggregate", lambda *a: (given.append(a[1]), aggregate(*a))[1])
    list(method.unlearn())
    touched = method.shard[run.data.graph.find(run.data.request.users, run.data.request.items)[0]].item()
    for k, (table, graph) in enumerate(given[0]):
        old_table, old_graph = method.shards[k]
        assert torch.equal(table, old_table) == (len(graph) == len(old_graph)) == (k != touched)


@pytest.mark.parametrize("name", SHARDED)
def test_seconds_of_an_earlier_run_are_counted(prepared, monkeypatch, name):
    """A run that loads what an earlier one trained tells that one's time."""
    run = prepared(unlearn_methods=name)
    spent = []
    for _ in range(2):
        method = METHODS[name](run.config, run.data, run.original)
        before = method.prepare()
        (stage,) = method.unlearn()
        spent.append((before, stage.seconds_before))
    assert spent[0] == (0, 0) and all(seconds > 0 for seconds in spent[1])


def test_partitions_cover_all_edges(prepared):
    for name in ("RecEraser", "SISA"):
        shard = method_of(prepared(unlearn_methods=name), name).shard
        assert shard.min() >= 0 and len(torch.unique(shard)) == 3


@pytest.mark.parametrize("kind", ["interaction", "user", "item"])
def test_receraser_partitions(prepared, kind):
    run = prepared(unlearn_methods="RecEraser", unlearn_receraser_partition=kind)
    method = method_of(run, "RecEraser")
    graph = run.data.graph
    sides = {"user": graph.users, "item": graph.items}
    if kind in sides:  # all edges of a node are in its shard
        assert len(torch.unique(torch.stack([sides[kind], method.shard]), dim=1)[0]) == len(torch.unique(sides[kind]))
    else:
        assert torch.bincount(method.shard).max() <= 1.2 * len(graph) / 3 + 1


@pytest.mark.parametrize("partition", ["BEKM", "BLPA"])
@pytest.mark.parametrize("on", ["nodes", "users"])
def test_grapheraser_partitions(prepared, partition, on):
    changes = {"unlearn_grapheraser_partition": partition, "unlearn_grapheraser_partition_on": on}
    run = prepared(unlearn_methods="GraphEraser", **changes)
    method = method_of(run, "GraphEraser")
    graph = run.data.graph
    inside = method.shard >= 0
    shards_of_users = torch.unique(torch.stack([graph.users, method.shard])[:, inside], dim=1)[0]
    assert len(shards_of_users) == len(torch.unique(shards_of_users))  # a user is in one shard only
    assert inside.all() if on == "users" else 0 < inside.sum() < len(graph)
    (stage,) = method.unlearn()
    assert stage.details["edges in shards"] == f"{float(inside.float().mean()):.0%}"


def test_grapheraser_scores_pairs_of_different_shards_zero(prepared):
    run = prepared(unlearn_methods="GraphEraser")
    method = method_of(run, "GraphEraser")
    final = method.model.final_embeddings()
    users, items = final.split([method.model.n_users, method.model.n_items])
    shard_of = {side: [set() for _ in table] for side, table in (("user", users), ("item", items))}
    for user, item, k in zip(run.data.graph.users.tolist(), run.data.graph.items.tolist(), method.shard.tolist()):
        if k >= 0:
            shard_of["user"][user].add(k)
            shard_of["item"][item].add(k)
    for user in range(len(users)):
        for item in range(len(items)):
            if not shard_of["user"][user] & shard_of["item"][item]:
                assert users[user] @ items[item] == 0


def test_workers_give_what_one_process_gives(prepared, tmp_path):
    one, two = (
        scores(
            method_of(
                prepared(
                    unlearn_methods="SISA", unlearn_shard_workers=workers, checkpoint_dir=str(tmp_path / f"{workers}")
                ),
                "SISA",
            ).model
        )
        for workers in (1, 2)
    )
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("given, expected", [(16, 16), (None, 128)])
def test_shards_may_have_a_batch_size_of_their_own(prepared, monkeypatch, given, expected):
    sizes, train = [], sharded.train

    def record(config, *arguments, **named):
        sizes.append(config["train_batch_size"])
        return train(config, *arguments, **named)

    monkeypatch.setattr(sharded, "train", record)
    method_of(prepared(unlearn_methods="SISA", unlearn_shard_batch_size=given), "SISA")
    assert sizes == [expected] * 3


@pytest.fixture
def epochs_run(monkeypatch):
    epochs, train_epoch = [], Trainer._train_epoch

    def record(self, *arguments, **named):
        epochs.append(self.saved_model_file)
        return train_epoch(self, *arguments, **named)

    monkeypatch.setattr(Trainer, "_train_epoch", record)
    return epochs


def test_a_deletion_repeats_the_slices_from_its_own_on(prepared, epochs_run):
    run = prepared(unlearn_methods="SISA", unlearn_sisa_slices=4, epochs=5, forget_ratio=1e-9)
    epochs_run.clear()
    method = method_of(run, "SISA")
    assert len(epochs_run) == 3 * 4 * 2  # shards, slices, and 2 / (4 + 1) of 5 epochs
    epochs_run.clear()
    (stage,) = method.unlearn()
    position, _ = run.data.graph.find(run.data.request.users, run.data.request.items)
    assert len(epochs_run) == (4 - method.slice[position].item()) * 2
    assert stage.seconds_before == 0  # what prepare trained is not waited for again
    assert torch.isfinite(scores(stage.model)).all()


def test_a_slice_goes_on_from_weights_and_optimiser(prepared, monkeypatch):
    run = prepared(unlearn_methods="SISA", unlearn_sisa_slices=2, unlearn_sisa_shards=1)
    steps, original = [], sharded._GoingOn.__init__

    def record(self, *arguments):
        original(self, *arguments)
        state = self.optimizer.state_dict()["state"]
        steps.append((int(state[0]["step"]) if state else 0, self.model.user_embedding.weight.detach().clone()))

    monkeypatch.setattr(sharded._GoingOn, "__init__", record)
    method_of(run, "SISA")
    assert steps[0][0] == 0 < steps[1][0]
    assert not torch.equal(steps[0][1], steps[1][1])
