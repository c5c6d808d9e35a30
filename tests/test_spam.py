"""Fake accounts: what they interact with, and what everything else makes of more users than the dataset has."""

import json
import logging

import numpy as np
import pytest
import torch
from conftest import write_atomic

from recbole_unlearn import load_data_and_model, run_unlearn
from recbole_unlearn.config import Config
from recbole_unlearn.data.copies import with_more_users
from recbole_unlearn.data.request import generator_for
from recbole_unlearn.data.split import split
from recbole_unlearn.errors import UsageError
from recbole_unlearn.sweep.simulation import simulated_data, simulated_requests
from recbole_unlearn.task import prepare_data

RATIO = 0.1


@pytest.fixture
def spam(configure):
    return lambda **changes: prepare_data(configure(**{"forget_type": "spam", "forget_ratio": RATIO, **changes}))


def pairs(graph):
    return set(zip(graph.users.tolist(), graph.items.tolist()))


def test_the_request_is_all_that_new_users_did(configure, spam):
    clean, data = prepare_data(configure()), spam()
    assert pairs(data.remaining_graph) == pairs(clean.graph)
    assert data.request.users.min() >= clean.graph.n_users
    accounts = torch.unique(data.request.users)
    assert accounts.tolist() == list(range(clean.graph.n_users, data.graph.n_users))
    assert len(data.request) == round(RATIO * len(clean.graph))
    assert not torch.isin(accounts, data.remaining_graph.users).any()
    assert pairs(clean.valid) == pairs(data.valid) and pairs(clean.test) == pairs(data.test)
    for part in (data.graph, data.remaining_graph, data.valid, data.test):
        assert (part.n_users, part.n_items) == (data.train.user_num, data.train.item_num)
    assert data.test_data.uid_list.tolist() == clean.test_data.uid_list.tolist()


@pytest.mark.parametrize("targets, profile, n_accounts", [(1, None, 4), (3, 8, 4), (1, 1, 32), (7, 10, 3), (1, 14, 2)])
def test_every_account_has_the_targets_and_fillers_of_its_profile(spam, targets, profile, n_accounts):
    data = spam(forget_spam_targets=targets, forget_spam_profile=profile)
    said = data.request.summary()
    assert said["n_accounts"] == said["n_users"] == n_accounts and len(said["targets"]) == targets
    ids = torch.tensor([data.train.token2id("item_id", token) for token in said["targets"]])
    matrix = torch.zeros(data.graph.n_users, data.graph.n_items, dtype=torch.bool)
    matrix[data.request.users, data.request.items] = True
    matrix = matrix[-n_accounts:]
    assert matrix[:, ids].all() and not matrix[:, 0].any()
    sizes = matrix.sum(1)
    assert sizes.sum() == 32 and sizes.max() - sizes.min() <= 1 and sizes.min() >= (profile or 8)


def test_drawn_targets_are_rare_and_fillers_popular(spam):
    degrees, fillers = torch.zeros(0), torch.zeros(0)
    clean = spam().remaining_graph
    popularity = torch.bincount(clean.items, minlength=clean.n_items).float()
    limit = popularity[popularity > 0].sort().values[-(-int((popularity > 0).sum()) // 4) - 1]
    for seed in range(8):
        data = spam(forget_seed=seed, forget_spam_targets=2)
        ids = torch.tensor([data.train.token2id("item_id", token) for token in data.request.how["targets"]])
        degrees = torch.cat([degrees, popularity[ids]])
        fillers = torch.cat([fillers, popularity[data.request.items[~torch.isin(data.request.items, ids)]]])
    assert (degrees <= limit).all()
    expected = (popularity**2).sum() / popularity.sum()  # of draws in proportion, the targets' few edges left out
    assert abs(fillers.mean() - expected) < 0.5 and fillers.mean() > popularity[popularity > 0].mean() + 0.3


def test_a_request_smaller_than_a_profile_is_one_account(spam):
    data = spam(forget_ratio=1e-9, forget_spam_targets=2, forget_spam_profile=9)
    assert data.request.how["n_accounts"] == 1 and len(data.request) == 2


@pytest.mark.parametrize("typed", [["i4", "i7"], "i4,i7", "['i4', 'i7']"])
def test_named_targets(spam, typed):
    assert spam(forget_spam_targets=typed).request.how["targets"] == ["i4", "i7"]


@pytest.mark.parametrize("typed, read", [("2", 2), (2, 2), (["2"], ["2"]), ("['2']", ["2"]), ("'12_3'", ["12_3"])])
def test_a_whole_number_is_a_number_of_targets_and_a_list_has_tokens(configure, yaml_file, settings, typed, read):
    assert configure(forget_type="spam", forget_spam_targets=typed)["forget_spam_targets"] == read
    file = yaml_file(f"forget_spam_targets: {typed}")
    assert Config("BPR", "tiny", [file], {**settings, "forget_type": "spam"})["forget_spam_targets"] == read


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"forget_spam_targets": ["i99"]}, "Unknown item in 'forget_spam_targets' 'i99'. Did you mean 'i9'.* 27 more"),
        ({"forget_spam_targets": 16}, r"at most 7 interactions, .* \(14\), and not 16: lower `forget_spam_targets`"),
        ({"forget_spam_targets": 500}, r"at most 0 interactions, .* \(0\), and not 30: lower `forget_spam_targets`"),
        ({"forget_spam_profile": 15}, r"at most 14 interactions, .* \(29\), and not 15: lower `forget_spam_profile`"),
        ({"forget_spam_targets": 5, "forget_spam_profile": 4}, "has 4 interactions, too few for 5 targets"),
        ({"forget_spam_targets": 0}, "'forget_spam_targets' must be a whole number >= 1 or a list"),
        ({"forget_type": "user", "forget_spam_targets": ["i4"]}, "needs forget_type 'spam', not 'user'"),
    ],
)
def test_what_is_refused(spam, changes, message):
    with pytest.raises(UsageError, match=message) as error:
        spam(**changes)
    assert "\n" not in str(error.value)


def test_a_user_who_is_called_like_an_account(settings, tmp_path):
    rows = [(f"[account {user}]", f"i{(user + step) % 12}") for user in range(1, 13) for step in range(8)]
    write_atomic(tmp_path / "other" / "other.inter", rows)
    with pytest.raises(UsageError, match=r"has a user '\[account 1\]'"):
        prepare_data(Config("BPR", "other", config_dict={**settings, "data_path": ".", "forget_type": "spam"}))


def test_spam_has_a_stream_of_its_own(configure, spam, monkeypatch):
    used = []
    monkeypatch.setattr("recbole_unlearn.data.spam.torch_stream", lambda *purpose: used.append(purpose) or seeded)
    seeded = torch.Generator().manual_seed(1)
    spam(forget_seed=5)
    assert used == [(5, "spam")] and generator_for(configure(forget_seed=5)).initial_seed() != 1


def test_users_with_features_get_blank_ones(settings, tmp_path):
    write_atomic(tmp_path / "rich" / "rich.inter", [(f"u{u}", f"i{(u + s) % 12}") for u in range(12) for s in range(8)])
    (tmp_path / "rich" / "rich.user").write_text(
        "user_id:token\tage:float\tlikes:token_seq\n" + "".join(f"u{u}\t{u}\ta b\n" for u in range(12))
    )
    columns = {"inter": ["user_id", "item_id"], "user": ["user_id", "age", "likes"]}
    config = Config("BPR", "rich", config_dict={**settings, "data_path": ".", "load_col": columns})
    dataset = split(config)[0]
    longer = with_more_users(dataset, ["x", "y"])
    assert longer.user_num == dataset.user_num + 2 and longer.token2id("user_id", "y") == dataset.user_num + 1
    assert len(longer.user_feat) == longer.user_num and longer.user_feat["likes"][-2:].sum() == 0
    assert longer.user_feat["user_id"].tolist() == list(range(longer.user_num))
    assert dataset.user_num == 13 and len(dataset.user_feat) == 13


def test_a_run_reports_targets_and_its_models_come_back_with_the_clean_data(settings, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    methods = ["Retrain", "UnlearnRec", "DropEdges"]
    changes = {**settings, "forget_type": "spam", "unlearn_methods": methods, "unlearn_floor_runs": 0}
    report = run_unlearn("LightGCN", "tiny", config_dict=changes)
    (target,) = report["forget"]["targets"]
    assert f"forgotten (spam, 2 accounts for {target})" in caplog.text
    assert report["forget"]["n_accounts"] == 2
    for row in report["results"]:
        assert all(np.isfinite(row[name]) for name in ("MI-BF", "MI-NG", "ndcg@5"))
    json.loads((tmp_path / "saved" / "LightGCN-tiny-spam-7.json").read_text())
    file = tmp_path / "saved" / "DropEdges-LightGCN-tiny-spam-7.safetensors"
    _, model, dataset, train_data, _, _ = load_data_and_model(str(file))
    assert sum(len(batch) for batch in train_data) == len(model.graph) == 320
    assert model.n_users == dataset.user_num == 43
    with pytest.raises(UsageError, match="trained with injected interactions"):
        load_data_and_model(str(file.with_name("original-LightGCN-tiny-spam-7.safetensors")))


def test_simulated_spam_has_other_accounts_and_targets(configure):
    config = configure(forget_type="spam", forget_spam_targets=["i4", "i7"])
    requests = simulated_requests(config, ["spam", "spam", "user"])
    _, data = simulated_data(config, "UnlearnRec", requests)
    drawn = [set(each.request.how.get("targets", ())) for each in data]
    assert [len(targets) for targets in drawn] == [2, 2, 0] and drawn[0] != {"i4", "i7"} != drawn[1]
    assert pairs(data[0].request) != pairs(data[1].request)
