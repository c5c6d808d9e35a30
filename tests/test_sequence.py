"""Sequences of requests: the data that each one meets, what methods keep from one to the next, and rows of a run."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import keywords

from recbole_unlearn import run_unlearn
from recbole_unlearn.errors import UsageError
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import dataset_graph
from recbole_unlearn.sequence.requests import drawn_users, following, measured_points, union_of
from recbole_unlearn.sequence.rows import seconds_of, sequence_table
from recbole_unlearn.sequence.work import answers
from recbole_unlearn.testing.runs import scores

ONE_MORE = {"forget_type": "user", "forget_users": "u3"}


def first(name, run):
    """A method prepared for its first request, that request's result, and the method on a second user's."""
    method = METHODS[name](run.config, run.data, run.original)
    method.prepare()
    *_, stage = method.unlearn()
    remaining = run.data.remaining_graph
    return method, stage.model, method.continued(following(run.data, remaining.users[0]), stage.model)


def test_the_users_are_drawn_once_each_from_those_with_interactions(prepared, configure):
    graph = prepared().data.graph
    users, again, other = (drawn_users(configure(unlearn_sequence=12, seed=s), graph) for s in (7, 7, 8))
    assert len(torch.unique(users)) == 12 and torch.isin(users, graph.users).all()
    assert torch.equal(users, again) and not torch.equal(users, other)
    with pytest.raises(UsageError, match="'unlearn_sequence' is 41, but only 40 users") as error:
        drawn_users(configure(unlearn_sequence=41), graph)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("n, points", [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (100, [25, 50, 75, 100])])
def test_points(n, points):
    assert measured_points(n) == points


def test_requests_one_after_the_other_leave_what_their_union_leaves(prepared, configure):
    data = prepared().data
    users = drawn_users(configure(unlearn_sequence=3), data.graph)
    step, union = union_of(data, users[:1]), union_of(data, users)
    for user in users[1:]:
        step = following(step, user)
        assert set(step.request.users.tolist()) == {int(user)} and step.test_data is data.test_data
    pairs = [set(zip(g.users.tolist(), g.items.tolist())) for g in (step.remaining_graph, union.remaining_graph)]
    assert pairs[0] == pairs[1] == set(zip(*(side.tolist() for side in _without(data.graph, users))))
    assert len(dataset_graph(step.remaining)) == len(pairs[0])


def _without(graph, users):
    keep = ~torch.isin(graph.users, users)
    return graph.users[keep], graph.items[keep]


def test_dropping_edges_step_by_step_is_dropping_them_at_once(prepared):
    run = prepared()
    users = torch.unique(run.data.graph.users)[:3]
    *_, last = answers("DropEdges", run.config, run.data, run.original, users, [3])
    (at_once,) = METHODS["DropEdges"](run.config, union_of(run.data, users), run.original).unlearn()
    assert last.after == 3 and torch.equal(scores(last.stage.model), scores(at_once.model))


@pytest.mark.parametrize("name", ["GIF", "SCIF"])
def test_an_influence_method_goes_on_as_if_prepared_on_what_its_result_left(prepared, name):
    run = prepared(unlearn_methods=name)
    _, model, going_on = first(name, run)
    anew = METHODS[name](run.config, going_on.data, model)
    anew.config = going_on.config  # the same draws
    anew.prepare()
    results = [list(method.unlearn())[-1].model for method in (going_on, anew)]
    assert torch.equal(*map(scores, results)) and not torch.equal(scores(results[0]), scores(model))


def test_ceu_goes_on_from_its_result_and_trains_no_second_original(prepared, monkeypatch):
    run = prepared(unlearn_methods="CEU")
    monkeypatch.setattr("recbole_unlearn.method.influence.ceu.train", _only_once(METHODS["CEU"]))
    _, model, going_on = first("CEU", run)
    assert torch.equal(going_on.point, model.ego_embeddings())


def _only_once(method):
    from recbole_unlearn.method.influence.ceu import train

    def trained(*arguments, calls=[], **named):  # noqa: B006  (counts)
        calls.append(1)
        assert len(calls) == 1
        return train(*arguments, **named)

    return trained


def test_shards_keep_what_a_request_does_not_touch(prepared):
    run = prepared(unlearn_methods="GraphEraser", **ONE_MORE)
    method, _, going_on = first("GraphEraser", run)
    touched = set(torch.unique(method.shard[~run.data.remaining_graph.contains(*_edges(run.data.graph))]).tolist())
    assert set(range(method.n_shards)) - touched  # else the test shows nothing
    for k, (table, graph) in going_on.shards.items():
        assert (table is method.shards[k][0]) == (k not in touched)
        expected = going_on.data.graph.subgraph(going_on.shard == k)
        assert torch.equal(graph.users, expected.users) and torch.equal(graph.items, expected.items)


def _edges(graph):
    return graph.users, graph.items


@pytest.mark.parametrize("target", ["unseen", "negative"])
def test_the_prepared_encoder_is_kept_and_revises_the_last_result(prepared, target):
    run = prepared(ie_target=target)
    method, model, going_on = first("UnlearnRec", run)
    old, new = method.encoder, going_on.encoder
    assert old.original is run.original and new.original is going_on.original is model
    if target == "unseen":
        assert new.encoder is old.encoder
    else:
        assert torch.equal(new.encoder.influence, old.encoder.influence)
        assert torch.equal(new.encoder.ego, model.ego_embeddings())
        assert torch.equal(old.encoder.ego, run.original.ego_embeddings())


def test_retrain_trains_at_the_measured_points_with_streams_of_their_own(prepared):
    run = prepared(unlearn_floor_runs=0)
    users = torch.unique(run.data.graph.users)[:4]
    given = list(answers("Retrain", run.config, run.data, run.original, users, [2, 4]))
    assert [answer.after for answer in given] == [2, 4]
    for answer in given:
        assert not torch.isin(users[: answer.after], answer.stage.model.graph.users).any()
    nothing = replace(run.data, request=union_of(run.data, users[:0]).request)
    first_, second = (list(answers("Retrain", run.config, nothing, run.original, users[:0], [n])) for n in (1, 2))
    assert not torch.equal(*(scores(each[0].stage.model) for each in (first_, second)))


def test_seconds_of_requests():
    costs = [0.1, 0.4, 0.2, 5.0]
    row = seconds_of(costs)
    assert row == {
        "seconds_p50": pytest.approx(0.3),
        "seconds_p95": pytest.approx(np.percentile(costs, 95)),
        "seconds_max": 5.0,
        "timed": 4,
    }


@pytest.fixture
def run_of_two(settings, monkeypatch):
    """Two requests through four methods, one of which cannot go on."""

    def cannot(*_):
        raise NotImplementedError("it has no memory of the first")

    monkeypatch.setattr(METHODS["GIF"], "continued", cannot)
    given = {**settings, "unlearn_sequence": 2, "unlearn_methods": ["UnlearnRec", "Retrain", "DropEdges", "GIF"]}
    return lambda: run_unlearn("LightGCN", "tiny", config_dict=given)


def test_a_run_with_a_sequence(run_of_two, monkeypatch):
    result = run_of_two()
    rows = result["sequence"]
    for name in ("original", "UnlearnRec", "DropEdges"):
        assert [row["after"] for row in rows if row["method"] == name] == [1, 2]
    assert [row["stage"] for row in rows if row["method"] == "Retrain"] == ["", "again"] * 2
    for row in rows:
        if row["method"] in ("UnlearnRec", "DropEdges"):
            assert row["timed"] == row["after"] and row["seconds_p50"] <= row["seconds_p95"] <= row["seconds_max"]
            assert {"MI-NG_gap", "MI-NG_gap_floors", "ndcg@5_ratio", "jaccard@5", "speed_up"} <= set(row)
    (stopped,) = (row for row in rows if "no result" in row)
    assert stopped["no result"] == "no result after 1 of 2 requests: it has no memory of the first"
    assert stopped["no result"] in sequence_table(rows)
    folder = Path("saved")
    assert (folder / "LightGCN-tiny-random-7-sequence.png").read_bytes().startswith(b"\x89PNG")

    monkeypatch.setattr("recbole_unlearn.sequence.sequence.answers", lambda *_: pytest.fail("computes a row again"))
    again = run_of_two()
    assert json.dumps(again["sequence"]) == json.dumps(rows) and again["results"] == result["results"]


def test_the_command_line_takes_the_number_of_requests():
    assert keywords(["--model=BPR", "--sequence=100"])["config_dict"] == {"unlearn_sequence": "100"}
