"""Datasets and splits: files with repetitions or more columns, copies, and the loaders that all rows share."""

import pytest
import torch
from conftest import tiny_rows, write_atomic

from recbole_unlearn import run_unlearn
from recbole_unlearn.config import Config
from recbole_unlearn.data.copies import with_edges, with_extra_edges, with_nodes
from recbole_unlearn.errors import UsageError
from recbole_unlearn.task import prepare_data


def pairs(source):
    feat = getattr(source, "inter_feat", None)
    users, items = (source.users, source.items) if feat is None else (feat["user_id"], feat["item_id"])
    return list(zip(users.tolist(), items.tolist()))


@pytest.fixture
def rated(settings, tmp_path):
    """The configuration of a dataset with ratings and times, split by time."""
    rows = [(user, item, str(n % 5 + 1), str(n)) for n, (user, item) in enumerate(tiny_rows())]
    path = tmp_path / "other" / "rated" / "rated.inter"
    write_atomic(path, rows, ("user_id", "item_id", "rating", "timestamp"))
    path.write_text(path.read_text().replace("rating:token\ttimestamp:token", "rating:float\ttimestamp:float"))
    columns = {"inter": ["user_id", "item_id", "rating", "timestamp"]}
    changes = {"data_path": str(tmp_path / "other"), "load_col": columns, "eval_args": {"order": "TO"}}
    return lambda **more: Config("LightGCN", "rated", config_dict={**settings, **changes, **more})


def test_copies_keep_the_ids_and_leave_the_dataset_alone(configure):
    train = prepare_data(configure()).train
    before = pairs(train)
    keep = torch.arange(len(train)) % 2 == 0
    assert pairs(with_edges(train, keep)) == before[::2]
    extra = with_extra_edges(train, torch.tensor([1]), torch.tensor([2]))
    assert pairs(extra) == [*before, (1, 2)]
    assert (extra.user_num, extra.item_num) == (train.user_num, train.item_num) == (41, 31)
    assert pairs(train) == before


def tokens(dataset):
    feat = dataset.inter_feat
    return [
        tuple(dataset.id2token(f, id_) for f, id_ in zip(feat, row)) for row in zip(*(feat[f].tolist() for f in feat))
    ]


def test_fewer_nodes_keep_their_tokens_and_what_is_between_them(configure):
    train = prepare_data(configure()).train
    whole = tokens(train)
    users, items = torch.tensor([30, 2, 7]), torch.arange(1, 31, 2)
    names = [set(train.id2token(field, ids)) for field, ids in (("user_id", users), ("item_id", items))]
    few = with_nodes(train, users, items)
    assert tokens(few) == [(u, i) for u, i in whole if u in names[0] and i in names[1]]
    assert (few.user_num, few.item_num) == (4, 16) and (train.user_num, train.item_num) == (41, 31)
    assert few.token2id("user_id", train.id2token("user_id", 2)) == 2
    assert few.id2token("user_id", 1) == train.id2token("user_id", 30)
    assert tokens(train) == whole


def test_features_of_fewer_nodes_are_theirs(settings, tmp_path):
    write_atomic(tmp_path / "other" / "old" / "old.inter", tiny_rows())
    ages = tmp_path / "other" / "old" / "old.user"
    ages.write_text("user_id:token\tage:float\n" + "".join(f"u{n}\t{n}\n" for n in range(40)))
    columns = {"inter": ["user_id", "item_id"], "user": ["user_id", "age"]}
    train = prepare_data(
        Config("LightGCN", "old", config_dict={**settings, "data_path": str(tmp_path / "other"), "load_col": columns})
    ).train
    few = with_nodes(train, torch.tensor([30, 2]), torch.arange(1, 31))
    assert few.user_feat["age"][1:].tolist() == [float(train.id2token("user_id", n)[1:]) for n in (30, 2)]
    assert few[torch.arange(len(few))]["age"].tolist() == [float(u[1:]) for u, _ in tokens(few)]


def test_other_columns_follow_their_rows(rated):
    data = prepare_data(rated())
    rating = {(u, i): r for (u, i), r in zip(pairs(data.train), data.train.inter_feat["rating"].tolist())}
    assert len(data.remaining) == 320 - len(data.request) and set(rating.values()) == {1, 2, 3, 4, 5}
    assert [rating[pair] for pair in pairs(data.remaining)] == data.remaining.inter_feat["rating"].tolist()


def test_injected_rows_have_zeros_in_other_columns(rated):
    data = prepare_data(rated(forget_type="adversarial"))
    injected = set(pairs(data.request))
    ratings = [r for pair, r in zip(pairs(data.train), data.train.inter_feat["rating"].tolist()) if pair in injected]
    assert ratings == [0] * len(injected) and data.train.inter_feat["rating"].dtype == torch.float


@pytest.mark.parametrize("kind", ["random", "adversarial"])
def test_repeated_interactions_are_forgotten_all_at_once(settings, tmp_path, kind):
    rows = list(tiny_rows())
    write_atomic(tmp_path / "other" / "tiny" / "tiny.inter", [*rows, *rows])
    changes = {**settings, "data_path": str(tmp_path / "other"), "forget_type": kind}
    data = prepare_data(Config("LightGCN", "tiny", config_dict=changes))
    assert len(data.train) > len(data.graph)
    assert set(pairs(data.request)).isdisjoint(pairs(data.remaining))
    assert set(pairs(data.remaining)) == set(pairs(data.graph)) - set(pairs(data.request))
    run_unlearn("LightGCN", "tiny", config_dict=changes)


def test_ids_may_have_other_names_and_every_method_metrics_of_lists(settings, tmp_path):
    write_atomic(tmp_path / "other" / "mine" / "mine.inter", tiny_rows(), ("reader", "book"))
    fields = {"USER_ID_FIELD": "reader", "ITEM_ID_FIELD": "book", "load_col": {"inter": ["reader", "book"]}}
    lists = {"metrics": ["NDCG", "ItemCoverage", "AveragePopularity"], "valid_metric": "ItemCoverage@5"}
    changes = {**settings, **fields, **lists, "data_path": str(tmp_path / "other"), "unlearn_methods": "all"}
    result = run_unlearn("SGL", "mine", config_dict=changes)
    assert result["forget"]["n_interactions"] == 16
    assert len(result["results"]) > 9 and all(0 < row["itemcoverage@5"] <= 1 for row in result["results"])


@pytest.mark.parametrize("split", [[0.8, 0.0, 0.2], [0.8, 0.2, 0.0]])
def test_empty_part_of_the_split_is_refused(configure, split):
    with pytest.raises(UsageError, match="(validation|test) part of the split is empty; change `eval_args`"):
        prepare_data(configure(eval_args={"split": {"RS": split}}))


def test_more_items_wanted_than_there_are(configure):
    with pytest.raises(UsageError, match="'topk' asks for 99 of 30 items"):
        prepare_data(configure(topk=[5, 99]))


def test_split_into_two_parts_is_refused(configure):
    with pytest.raises(UsageError, match="eval_args"):
        prepare_data(configure(eval_args={"split": {"RS": [0.8, 0.2]}}))


def hidden(loader):
    """The pairs that an evaluation leaves out of the ranking."""
    found = set()
    for interaction, history, _, _ in loader:
        users = interaction["user_id"]
        found |= set(zip(users[history[0]].tolist(), history[1].tolist()))
    return found


@pytest.mark.parametrize("kind", ["random", "adversarial"])
def test_evaluation_hides_forgotten_items_too(configure, kind):
    data = prepare_data(configure(forget_type=kind))
    train = set(pairs(data.graph))
    assert hidden(data.valid_data) == train
    assert hidden(data.test_data) == train | set(pairs(data.valid))


def test_evaluation_on_popular_negatives(configure):
    data = prepare_data(configure(eval_args={"mode": {"valid": "full", "test": "pop5"}}))
    assert data.test_data._sampler.distribution == "popularity"
