"""Filters, splits and ranking batches made from arrays equal RecBole's, made row by row in Python."""

import numpy as np
import pytest
import torch
from conftest import write_atomic
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataset import Dataset as RecBoleDataset
from recbole.data.utils import create_samplers
from recbole.utils.case_study import full_sort_scores

from recbole_unlearn.config import Config
from recbole_unlearn.data.dataset import Dataset
from recbole_unlearn.data.grouping import parts_of_groups, rows_within
from recbole_unlearn.data.split import evaluation_loaders, split
from recbole_unlearn.model import MODELS

ROW_BY_ROW = ("_filter_by_inter_num", "split_by_ratio", "leave_one_out", "_concat_remaped_tokens")
FEATURES = {"inter": ["user_id", "item_id", "timestamp"], "user": ["user_id", "age"], "item": ["item_id", "class"]}
BY_TIME = {"order": "TO", "group_by": "user", "mode": "full"}


@pytest.fixture
def both(monkeypatch):
    """The configuration of ml-100k, its dataset and parts, and RecBole's dataset and parts."""

    def load(**settings):
        config = Config("LightGCN", "ml-100k", config_dict={"gpu_id": "", **settings})
        ours = split(config)
        for name in ROW_BY_ROW:
            monkeypatch.setattr(Dataset, name, getattr(RecBoleDataset, name))
        theirs = split(config)
        monkeypatch.undo()
        return config, ours, theirs

    return load


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"user_inter_num_interval": "[30,inf)", "item_inter_num_interval": "[10,inf)"},
        {"user_inter_num_interval": "[5,40);(100,inf)", "item_inter_num_interval": None},
        {"user_inter_num_interval": "(100,inf);[5,40)", "item_inter_num_interval": "[0,50]", "load_col": FEATURES},
        {"user_inter_num_interval": None, "item_inter_num_interval": "[20,100)", "load_col": FEATURES},
        {"eval_args": {**BY_TIME, "split": {"RS": [0.7, 0.1, 0.2]}, "group_by": None}, "load_col": FEATURES},
        {
            "eval_args": {**BY_TIME, "split": {"LS": "valid_and_test"}},
            "load_col": FEATURES,
            "item_inter_num_interval": "[0,3]",
        },
    ],
)
def test_rows_ids_and_features_are_recboles(both, settings):
    _, ours, theirs = both(**settings)
    assert [len(part) for part in ours] == [len(part) for part in theirs] and len(ours[1]) > 0
    for one, other in zip(ours, theirs):
        assert one.field2id_token.keys() == other.field2id_token.keys()
        for field, tokens in one.field2id_token.items():
            np.testing.assert_array_equal(tokens, other.field2id_token[field])
        for name in ("inter_feat", "user_feat", "item_feat"):
            features, expected = getattr(one, name), getattr(other, name)
            assert (features is None) == (expected is None)
            for field in expected if expected is not None else ():
                assert torch.equal(features[field], expected[field]), field


def test_users_without_features_are_filtered_as_in_recbole(settings, tmp_path, monkeypatch):
    """RecBole holds those in a table of features to the first interval's least number, and the others to none."""
    rows = [(f"u{user}", f"i{item}") for user in range(24) for item in range(user % 14 + 2)]
    write_atomic(tmp_path / "other" / "half" / "half.inter", rows)
    ages = "".join(f"u{user}\t{user}\n" for user in range(0, 24, 2))
    (tmp_path / "other" / "half" / "half.user").write_text(f"user_id:token\tage:float\n{ages}")
    columns = {"inter": ["user_id", "item_id"], "user": ["user_id", "age"]}
    changes = {"user_inter_num_interval": "(10,inf);[3,6)", "filter_inter_by_user_or_item": False, "load_col": columns}
    config = Config("LightGCN", "half", config_dict={**settings, "data_path": str(tmp_path / "other"), **changes})
    ours = Dataset(config)
    for name in ROW_BY_ROW:
        monkeypatch.setattr(Dataset, name, getattr(RecBoleDataset, name))
    theirs = Dataset(config)
    assert len(ours.inter_feat) == len(theirs.inter_feat) < len(rows)
    np.testing.assert_array_equal(ours.field2id_token["user_id"], theirs.field2id_token["user_id"])


def in_order(rows, items):
    return sorted(zip(rows.tolist(), items.tolist()))


@pytest.mark.parametrize("settings", [{}, {"eval_args": {"mode": {"valid": "uni5", "test": "full"}}}])
def test_ranking_batches_are_recboles(both, settings):
    config, ours, theirs = both(eval_batch_size=20_000, **settings)
    _, test = evaluation_loaders(config, *ours)
    _, _, sampler = create_samplers(config, theirs[0], list(theirs[1:]))
    reference = FullSortEvalDataLoader(config, theirs[3], sampler)
    assert len(test) == len(reference) > 1 and test.sample_size == reference.sample_size
    assert torch.equal(test.uid_list, reference.uid_list)
    np.testing.assert_array_equal(test.uid2items_num, reference.uid2items_num)
    for (users, *batch), (expected, *reference_batch) in zip(test, reference):
        assert torch.equal(users["user_id"], expected["user_id"])
        assert in_order(*batch[0]) == in_order(*reference_batch[0])
        assert in_order(*batch[1:]) == in_order(*reference_batch[1:])
    for name in ("uid2positive_item", "uid2history_item"):
        lists = [
            [None if of is None else sorted(of.tolist()) for of in getattr(each, name)] for each in (test, reference)
        ]
        assert lists[0] == lists[1]


def test_recboles_case_study_reads_the_loader(both):
    config, ours, _ = both()
    _, test = evaluation_loaders(config, *ours)
    model = MODELS["LightGCN"](config, ours[1])
    users = test.uid_list[[5, 2]]
    scores = full_sort_scores(users.numpy(), model, test)
    hidden = [sorted(torch.nonzero(row == -torch.inf).flatten().tolist()) for row in scores]
    feat = [torch.stack([part.inter_feat["user_id"], part.inter_feat["item_id"]]) for part in ours[1:3]]
    edges = torch.cat(feat, dim=1)
    assert hidden == [sorted({0, *edges[1][edges[0] == user].tolist()}) for user in users]


def test_ids_that_lose_their_rows_with_others_are_not_dropped():
    users, items = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 1, 2, 2, 0, 1])
    kept, (of_users, of_items) = rows_within([users, items], [lambda n: n >= 2, lambda n: n >= 2])
    assert kept.tolist() == [True, True, False, False, True, True]
    assert of_users.tolist() == [False, True, False] and of_items.tolist() == [False, False, True]
    kept, (of_users, _) = rows_within([users, items], [lambda n: n < 9, lambda n: n > 9])
    assert not kept.any() and not of_users.any()
    assert [len(each) for each in rows_within([users[:0], items[:0]], [lambda n: n > 1] * 2)[1]] == [0, 0]


def test_each_group_is_split_by_itself():
    ids = np.array([0, 1, 0, 0, 1, 2, 0])
    first, second = parts_of_groups(ids, lambda size: [size - size // 2], 2)
    assert first.tolist() == [0, 2, 1, 5] and second.tolist() == [3, 6, 4]
    assert [len(part) for part in parts_of_groups(ids[:0], lambda size: [0], 2)] == [0, 0]
