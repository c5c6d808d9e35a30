"""RecBole's settings of data and evaluation: what fails late there, or means something else, is refused at once."""

import pytest

from recbole_unlearn.errors import UsageError

SPLIT, EVAL = "`split` RS of `eval_args` must be three numbers", "of `eval_args`"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"eval_args": {"order": "to"}}, f"Unknown `order` {EVAL} 'to'. Did you mean 'TO'"),
        ({"eval_args": {"group_by": "usr"}}, f"Unknown `group_by` {EVAL} 'usr'. Did you mean 'user'"),
        ({"eval_args": {"ordr": "TO"}}, "Unknown key of `eval_args` 'ordr'. Did you mean 'order'"),
        ({"eval_args": {"split": {"LS": "nonsense"}}}, f"`split` LS {EVAL} must be valid_and_test, not 'nonsense'"),
        ({"eval_args": {"split": {"LS": "valid_only"}}}, "valid_and_test, not 'valid_only'"),
        ({"eval_args": {"split": {"XS": [1]}}}, f"Unknown `split` {EVAL} 'XS'"),
        ({"eval_args": {"split": "RS"}}, f"`split` {EVAL} must be"),
        ({"eval_args": {"split": {"RS": [0.8, 0.1]}}}, SPLIT),
        ({"eval_args": {"split": {"RS": [0.8, 0.1, 0.2]}}}, SPLIT),
        ({"eval_args": {"split": {"RS": [0.8, -0.1, 0.3]}}}, SPLIT),
        ({"eval_args": {"split": {"RS": ["a", 1, 1]}}}, SPLIT),
        ({"eval_args": {"mode": "labeled"}}, "full, uniN or popN"),
        ({"eval_args": {"mode": "uni"}}, "full, uniN or popN"),
        ({"eval_args": {"mode": {"valid": "full", "test": "pop0"}}}, "full, uniN or popN"),
        ({"threshold": {"rating": 3}}, "'threshold' is not supported.*val_interval"),
        ({"repeatable": True}, "'repeatable' is not supported"),
        ({"save_dataset": True}, "'save_dataset' is not supported.*pickle"),
        ({"save_dataloaders": True}, "'save_dataloaders' is not supported"),
        ({"dataset_save_path": "x.pth"}, "'dataset_save_path' is not supported"),
        ({"log_wandb": True}, "'log_wandb'.*pip install wandb"),
        ({"tail_ratio": 0}, "'tail_ratio' must be"),
        ({"tail_ratio": 1.5}, "'tail_ratio' must be"),
        ({"rm_dup_inter": False}, "'rm_dup_inter' must be first, last or empty"),
        ({"user_inter_num_interval": "5"}, r"'user_inter_num_interval' must be empty or an interval, e.g. \[5,inf\)"),
        ({"item_inter_num_interval": "[9,2]"}, "'item_inter_num_interval' must be empty or an interval"),
        ({"val_interval": {"rating": "4"}}, "'val_interval of rating' must be an interval"),
        ({"load_col": ["user_id", "item_id"]}, "'load_col' must be empty or the columns of each kind of file"),
        ({"field_separator": ""}, "'field_separator' must be a text"),
        ({"encoding": ["utf-8"]}, "'encoding' must be empty or a text"),
        ({"transform": "mask_itemseq"}, "'transform'.*sequential models"),
        ({"train_neg_sample_args": {"sample_num": 0}}, "'train_neg_sample_args' must have a `sample_num` >= 1"),
        ({"train_neg_sample_args": "uniform"}, "'train_neg_sample_args' must be empty or a dict"),
        ({"val_interval": "[4,inf)"}, "'val_interval' must be empty or a dict"),
        ({"load_col": {"inter": None}}, "'load_col' must be empty or the columns"),
        ({"benchmark_filename": ["train", "test"]}, "'benchmark_filename' must be empty or three names"),
        ({"benchmark_filename": []}, "'benchmark_filename' must be empty or three names"),
    ],
)
def test_what_would_mislead_or_fail_late_is_refused(configure, monkeypatch, changes, message):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(UsageError, match=message) as error:
        configure(**changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"eval_args": {"split": {"RS": [8, 1, 1]}, "group_by": None, "order": "TO"}},
        {"eval_args": {"split": {"LS": "valid_and_test"}, "mode": "uni100"}},
        {"eval_args": {"mode": {"test": "pop50"}}},
        {"user_inter_num_interval": "[5,10);(20,inf)", "val_interval": {"rating": "[3,5]", "city": ["a", "b"]}},
        {"rm_dup_inter": "last", "tail_ratio": 0.2, "encoding": "latin-1", "load_col": {"inter": "*"}},
        {"train_neg_sample_args": None},
    ],
)
def test_what_recbole_documents_is_accepted(configure, changes):
    config = configure(**changes)
    assert all(config[key] for key in changes)
