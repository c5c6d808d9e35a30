"""The .inter files of a version: in the order of the graph's edges, and only whole rows ever go."""

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_unlearn.data.dataset import Dataset
from recbole_unlearn.data.tokens import ids_of, known_ids
from recbole_unlearn.deletion.version.inter_file import copy_rows, read_ids, write_dataset
from recbole_unlearn.deletion.version.row_counts import counts_of, of_rows
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.model import dataset_graph

HEADER = "user_id:token\titem_id:token\trating:float\tshop:token\twhere:float_seq\n"
FIELDS = ["user_id", "item_id", "rating", "shop", "where"]
# The doubled quotes are one each, in quotes.
AWKWARD = ["007", "7", "a,b", "a b", "ä", "'", 'say ""hi""', "1e5", "true", "new\nline", "carriage\rreturn"]


def rated_rows():
    """Rows with repeated pairs, whose other fields differ."""
    generator = np.random.default_rng(0)
    for row in range(150):
        user, item = AWKWARD[generator.integers(len(AWKWARD))], f"i{generator.integers(12)}"
        yield f'"{user}"' if {*user} & {*'"\r\n'} else user, item, f"{row / 4}", f"s{generator.integers(3)}", "1.5 2.5"


@pytest.fixture
def rated(tmp_path, configure):
    """Config and training part of a dataset with several fields, and with pairs that occur more than once."""
    folder = tmp_path / "rated-data" / "rated"
    folder.mkdir(parents=True)
    (folder / "rated.inter").write_text(HEADER + "".join("\t".join(row) + "\n" for row in rated_rows()))
    config = configure(load_col={"inter": FIELDS})
    config["dataset"], config["data_path"] = "rated", str(folder)
    return config, Dataset(config).build()[0]


def tokens_of(dataset):
    fields = {"user": dataset.uid_field, "item": dataset.iid_field}
    return {side: np.array([*map(str, dataset.field2id_token[field])], dtype=object) for side, field in fields.items()}


def written(rated, tmp_path):
    config, train = rated
    path = tmp_path / "rows.inter"
    write_dataset(path, train)
    return path


def test_ids_are_read_in_the_order_of_the_graphs_edges_each_as_often_as_it_is_there(rated, tmp_path):
    config, train = rated
    graph, ids = dataset_graph(train), (train.inter_feat["user_id"], train.inter_feat["item_id"])
    assert 50 < len(graph) < len(train.inter_feat)  # there are repeated pairs
    users, items = read_ids(written(rated, tmp_path), config, tokens_of(train))
    counts = counts_of(graph, users, items)
    assert counts.tolist() == [
        int(((ids[0] == user) & (ids[1] == item)).sum()) for user, item in zip(graph.users, graph.items)
    ]
    assert torch.equal(users, of_rows(graph.users, counts)) and torch.equal(items, of_rows(graph.items, counts))
    assert counts_of(graph, graph.users, graph.items) is None


def test_every_row_is_kept_with_tokens_and_numbers(rated, tmp_path):
    _, train = rated
    feat, expected = train.inter_feat, []
    for row in range(len(feat)):
        user, item, shop = (train.id2token(field, int(feat[field][row])) for field in ("user_id", "item_id", "shop"))
        expected.append(((user, item), (float(feat["rating"][row]), shop)))
    table = pd.read_csv(written(rated, tmp_path), sep="\t", dtype=str, keep_default_na=False)
    assert list(table.columns[:2]) == ["user_id:token", "item_id:token"]
    assert set(table.columns[2:]) == {"rating:float", "shop:token"}
    pairs = list(zip(table["user_id:token"], table["item_id:token"]))
    assert sorted(zip(pairs, zip(table["rating:float"].astype(float), table["shop:token"]))) == sorted(expected)


def test_recbole_reads_the_same_dataset_back(rated, tmp_path):
    """As a store's retraining does; ids may differ, tokens and numbers may not."""
    config, train = rated
    path = tmp_path / "again" / "rated" / "rated.inter"
    path.parent.mkdir(parents=True)
    write_dataset(path, train)
    config["data_path"], config["load_col"] = str(path.parent), None  # all columns
    again = Dataset(config)
    graphs = []
    for dataset, feat in ((train, train.inter_feat), (again, again.inter_feat)):
        ids = (np.asarray(feat[field]) for field in ("user_id", "item_id"))
        graphs.append(set(zip(*(dataset.id2token(field, of) for field, of in zip(("user_id", "item_id"), ids)))))
    assert graphs[0] == graphs[1] and set(again.inter_feat.columns) == {"user_id", "item_id", "rating", "shop"}


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_exactly_the_masked_rows_are_copied(rated, tmp_path, share):
    config, train = rated
    source, target = written(rated, tmp_path), tmp_path / "copy.inter"
    there = read_ids(source, config, tokens_of(train))
    assert len(source.read_bytes().splitlines()) > 1 + len(train.inter_feat)  # some tokens go over two lines
    keep = np.random.default_rng(1).random(len(train.inter_feat)) < share
    copy_rows(source, target, keep)
    tables = [pd.read_csv(file, sep="\t", dtype=str) for file in (source, target)]
    pd.testing.assert_frame_equal(tables[1], tables[0][keep].reset_index(drop=True))
    assert all(
        map(torch.equal, read_ids(target, config, tokens_of(train)), (ids[torch.from_numpy(keep)] for ids in there))
    )


@pytest.mark.parametrize("content", [b"h\na\nb\n", b"h\na\nb\nc\nd\n", b"h\na\nb\nc", b"h\na\nb\nc\nd", b"h\n", b""])
def test_another_number_of_rows_is_refused_and_nothing_written(tmp_path, content):
    source, target = tmp_path / "source.inter", tmp_path / "copy.inter"
    source.write_bytes(content)
    with pytest.raises(UsageError, match="3 whole rows: it was changed"):
        copy_rows(source, target, np.ones(3, dtype=bool))
    assert not target.exists()


OF_ONE = {side: np.array(["[PAD]", f"{side[0]}1"], dtype=object) for side in ("user", "item")}


@pytest.mark.parametrize(
    "content, problem",
    [
        (None, "cannot be read"),
        ("", "cannot be read"),
        ("user_id:token\tprice:float\nu1\t3\n", "cannot be read"),
        ("user_id:token\titem_id:token\nu1\tnobody\n", "does not know"),
        ("user_id:token\titem_id:token\n[PAD]\ti1\n", "does not know"),
        ("user_id:token\titem_id:token\nu1\n", "does not know"),
    ],
    ids=["missing", "empty", "another column", "unknown item", "padding", "short row"],
)
def test_a_damaged_file_is_told_in_one_line(tmp_path, configure, content, problem):
    path = tmp_path / "rows.inter"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=problem) as error:
        read_ids(path, configure(), OF_ONE)
    assert "\n" not in str(error.value)


def test_a_file_of_no_rows_is_copied_and_has_no_ids(tmp_path, configure):
    source, path = tmp_path / "source.inter", tmp_path / "copy.inter"
    source.write_text("user_id:token\titem_id:token\n")
    copy_rows(source, path, np.ones(0, dtype=bool))
    assert path.read_bytes() == source.read_bytes()
    users, items = read_ids(path, configure(), OF_ONE)
    assert len(users) == len(items) == 0 and len(Graph.from_edges(users, items, 2, 2)) == 0


def test_ids_that_are_equal_as_numbers_stay_apart(configure, tmp_path):
    path = tmp_path / "rows.inter"
    path.write_text("user_id:token\titem_id:token\n007\t10\n7\t1e1\n07\t10.0\n")
    tokens = {"user": ["[PAD]", "7", "07", "007"], "item": ["[PAD]", "10.0", "10", "1e1"]}
    users, items = read_ids(path, configure(), {side: np.array(names, dtype=object) for side, names in tokens.items()})
    assert (users.tolist(), items.tolist()) == ([3, 1, 2], [2, 3, 1])


TOKENS = np.array(["[PAD]", "a", None, "b", None, "c"], dtype=object)


@pytest.mark.parametrize(
    "wanted, ids",
    [
        (["c", "a", "b", "a"], [5, 1, 3, 1]),
        (["a", "nobody", ""], [1, -1, -1]),
        ([None, "b"], [-1, 3]),
        (["[PAD]", "c"], [-1, 5]),
        ([1, "1", float("nan")], [-1, -1, -1]),
        ([], []),
    ],
    ids=["known", "unknown", "None", "padding", "no text", "nothing"],
)
def test_ids_of_tokens(wanted, ids):
    assert ids_of(TOKENS, wanted).tolist() == ids
    if -1 not in ids:
        assert known_ids(TOKENS, wanted).tolist() == ids
        return
    with pytest.raises(UsageError, match=f"^{ids.count(-1)} users or items that the model does not know"):
        known_ids(TOKENS, wanted)


@pytest.mark.parametrize("tokens", [["[PAD]"], ["[PAD]", None, None]], ids=["only padding", "all erased"])
def test_nobody_is_known_where_nobody_is_left(tokens):
    assert ids_of(np.array(tokens, dtype=object), ["a", None, "[PAD]"]).tolist() == [-1, -1, -1]
