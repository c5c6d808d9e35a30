"""What is forgotten: sampled, named and read requests, their errors, and requests at the limits."""

import logging

import numpy as np
import pytest
import torch
from conftest import write_atomic

from recbole_unlearn import run_unlearn
from recbole_unlearn.config import Config
from recbole_unlearn.data.request import generator_for, item_request, random_request
from recbole_unlearn.encoder.paper import InfluenceEncoder
from recbole_unlearn.errors import UsageError
from recbole_unlearn.streams import torch_stream
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import UnlearningTask

KINDS = ["adversarial", "random", "user", "item", "spam"]


def pairs(request):
    return list(zip(request.users.tolist(), request.items.tolist()))


def tokens(data, request):
    names = data.train.field2id_token
    return {(str(names["user_id"][user]), str(names["item_id"][item])) for user, item in pairs(request)}


@pytest.fixture
def some_edges(configure):
    """External tokens of training edges, in the order of the graph."""
    data = prepare_data(configure())
    return sorted(tokens(data, data.graph))


@pytest.fixture
def from_file(configure, tmp_path):
    """Prepare the data with the request of a file of these rows."""

    def prepare(rows, header=("user_id", "item_id"), **changes):
        path = write_atomic(tmp_path / "request.inter", rows, header)
        return prepare_data(configure(forget_type="file", forget_file=path, **changes))

    return prepare


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_request_is_sorted_distinct_and_part_of_the_training_data(self, configure, kind):
        data = prepare_data(configure(forget_type=kind))
        forgotten = pairs(data.request)
        assert forgotten == sorted(set(forgotten)) and forgotten
        assert data.graph.contains(data.request.users, data.request.items).all()

    def test_remaining_data_are_the_training_data_without_the_request(self, configure, kind):
        data = prepare_data(configure(forget_type=kind))
        expected = set(pairs(data.graph)) - set(pairs(data.request))
        assert set(pairs(data.remaining_graph)) == expected
        feat = data.remaining.inter_feat
        assert set(zip(feat["user_id"].tolist(), feat["item_id"].tolist())) == expected
        assert len(data.graph) == len(expected) + len(data.request)

    def test_same_seed_same_request(self, configure, kind):
        first, second = (prepare_data(configure(forget_type=kind, forget_seed=3)).request for _ in range(2))
        assert pairs(first) == pairs(second)

    def test_another_seed_another_request_on_the_same_split(self, configure, kind):
        first, second = (prepare_data(configure(forget_type=kind, forget_seed=seed)) for seed in (3, 4))
        assert pairs(first.request) != pairs(second.request)
        assert pairs(first.valid) == pairs(second.valid) and pairs(first.test) == pairs(second.test)


@pytest.mark.parametrize("kind", ["user", "item", "adversarial", "spam"])
def test_the_kind_of_request_does_not_change_the_split(configure, kind):
    first, second = prepare_data(configure(forget_type="random")), prepare_data(configure(forget_type=kind))
    assert pairs(first.valid) == pairs(second.valid) and pairs(first.test) == pairs(second.test)


def test_drawing_leaves_torchs_global_generator_alone(configure):
    data, config = prepare_data(configure()), configure()
    state = torch.get_rng_state()
    random_request(config, data.train, data.graph)
    item_request(config, data.train, data.graph)
    assert torch.equal(torch.get_rng_state(), state)


def test_forget_seed_zero_is_a_seed(configure):
    assert generator_for(configure(forget_seed=0)).initial_seed() == torch_stream(0, "request").initial_seed()
    assert generator_for(configure(forget_seed=None)).initial_seed() == torch_stream(7, "request").initial_seed()


@pytest.mark.parametrize("ratio, expected", [(0.0001, 1), (0.1, 32), (1.0, 320)])
def test_random_request_has_its_size(configure, ratio, expected):
    data = prepare_data(configure(forget_ratio=ratio))
    assert len(data.graph) == 320
    assert len(data.request) == expected


def test_adversarial_edges_are_injected_into_the_training_data_only(configure):
    clean, poisoned = prepare_data(configure()), prepare_data(configure(forget_type="adversarial"))
    assert set(pairs(poisoned.remaining_graph)) == set(pairs(clean.graph))
    for other in (clean.graph, clean.valid, clean.test):
        assert not other.contains(poisoned.request.users, poisoned.request.items).any()


def test_unknown_kind_names_the_closest(configure):
    with pytest.raises(UsageError, match="forget_type 'advers'. Did you mean 'adversarial'"):
        prepare_data(configure(forget_type="advers"))


@pytest.mark.parametrize("named", ["u3,u17", ["u3", "u17"], "u3, u17"])
def test_named_users(configure, named):
    data = prepare_data(configure(forget_type="user", forget_users=named))
    expected = {(u, i) for u, i in tokens(data, data.graph) if u in ("u3", "u17")}
    assert tokens(data, data.request) == expected and len(expected) == 16


def test_named_items(configure):
    data = prepare_data(configure(forget_type="item", forget_items="i4"))
    assert tokens(data, data.request) == {(u, i) for u, i in tokens(data, data.graph) if i == "i4"}


def test_sampled_users_lose_all_their_edges(configure):
    data = prepare_data(configure(forget_type="user", forget_ratio=0.1))
    assert len(torch.unique(data.request.users)) == 4
    assert not torch.isin(data.request.users, data.remaining_graph.users).any()


def test_unknown_named_users(configure):
    with pytest.raises(UsageError, match=r"2 of 3 .*\(nobody\); \(no one\).*forget_strict"):
        prepare_data(configure(forget_type="user", forget_users=["u1", "nobody", "no one"]))
    data = prepare_data(configure(forget_type="user", forget_users=["u1", "nobody"], forget_strict=False))
    assert {user for user, _ in tokens(data, data.request)} == {"u1"}
    with pytest.raises(UsageError, match="Nothing to forget"):
        prepare_data(configure(forget_type="user", forget_users=["nobody"], forget_strict=False))


def test_named_item_without_training_edges_is_refused(configure):
    data = prepare_data(configure())
    item = data.train.token2id("item_id", "i4")
    without = data.graph.subgraph(data.graph.items != item)
    with pytest.raises(UsageError, match="not in the training data|Nothing to forget"):
        item_request(configure(forget_type="item", forget_items="i4"), data.train, without)


def test_padding_is_no_user(configure):
    with pytest.raises(UsageError, match=r"\[PAD\]"):
        prepare_data(configure(forget_type="user", forget_users=["[PAD]"]))


def test_file_of_pairs(from_file, some_edges):
    chosen = [some_edges[5], some_edges[1], some_edges[5]]
    data = from_file(chosen)
    assert tokens(data, data.request) == set(chosen)
    assert data.request.summary() == {
        "n_interactions": 2,
        "n_users": len({user for user, _ in chosen}),
        "n_items": len({item for _, item in chosen}),
        "n_skipped": 0,
    }


@pytest.mark.parametrize("column, value", [("user_id", "u3"), ("item_id", "i4")])
def test_file_of_one_column_forgets_whole_users_or_items(from_file, some_edges, column, value):
    data = from_file([(value,)], header=(column,))
    assert tokens(data, data.request) == {edge for edge in some_edges if value in edge}


def test_a_row_without_an_item_names_a_whole_user_as_in_a_deletion_request(from_file, some_edges):
    data = from_file([some_edges[0], ("u3", ""), ("", "i4")])
    assert tokens(data, data.request) == {edge for edge in some_edges if "u3" in edge or "i4" in edge} | {some_edges[0]}
    with pytest.raises(UsageError, match="have neither a user nor an item, e.g. line 3"):
        from_file([some_edges[0], ("", "")])


def test_no_file(configure, tmp_path):
    with pytest.raises(UsageError, match="forget_file"):
        prepare_data(configure(forget_type="file"))
    with pytest.raises(UsageError, match="gone.inter' does not exist"):
        prepare_data(configure(forget_type="file", forget_file=str(tmp_path / "gone.inter")))
    with pytest.raises(UsageError, match="cannot be read"):
        prepare_data(configure(forget_type="file", forget_file=str(tmp_path)))


@pytest.mark.parametrize("header", [("user_id", "item"), ("rating",), ("user_id", "item_id", "colour")])
def test_unknown_column(from_file, header):
    with pytest.raises(UsageError, match="should name user_id or item_id or both"):
        from_file([("u1", "i1", "red")[: len(header)]], header)


@pytest.mark.parametrize(
    "separator, encoding, mark", [(",", "latin-1", ""), ("::", "latin-1", ""), ("\t", "utf-8", "\ufeff")]
)
def test_file_with_the_datasets_separator_and_encoding(settings, tmp_path, some_edges, separator, encoding, mark):
    users = {f"é{user}" for user, _ in some_edges}
    lines = [f"user_id:token{separator}item_id:token", *(f"é{user}{separator}{item}" for user, item in some_edges)]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.inter").write_text("\n".join(lines) + "\n", encoding=encoding)
    (tmp_path / "request.inter").write_text(f"{mark}user_id:token\n{min(users)}\n", encoding=encoding)
    reading = {"field_separator": separator, "encoding": encoding, "data_path": "."}
    request = {"forget_type": "file", "forget_file": "request.inter"}
    data = prepare_data(Config("LightGCN", "mine", config_dict={**settings, **reading, **request}))
    assert {user for user, _ in tokens(data, data.request)} == {min(users)}


def test_unknown_tokens(from_file, some_edges):
    rows = [some_edges[0], ("nobody", "i1"), ("u1", "nothing"), ("a", "b"), ("c", "d")]
    with pytest.raises(UsageError) as error:
        from_file(rows)
    message = str(error.value)
    assert message.startswith("4 of 5 rows") and "(nobody, i1); (u1, nothing); (a, b)." in message
    assert "--forget_strict=False" in message and "\n" not in message


def test_pairs_not_in_the_training_data(from_file, some_edges):
    absent = [("u1", f"i{item}") for item in range(30) if ("u1", f"i{item}") not in some_edges][:2]
    with pytest.raises(UsageError, match=r"2 of 3 rows are not in the training data .*\(u1, i"):
        from_file([*absent, some_edges[0]])


def test_lenient_reading_skips_counts_and_warns(from_file, some_edges, caplog):
    absent = next(("u1", f"i{item}") for item in range(30) if ("u1", f"i{item}") not in some_edges)
    with caplog.at_level(logging.WARNING):
        data = from_file([some_edges[0], ("nobody", "i1"), absent, some_edges[9]], forget_strict=False)
    assert tokens(data, data.request) == {some_edges[0], some_edges[9]}
    assert data.request.summary()["n_skipped"] == 2
    assert "1 of 4 rows name tokens" in caplog.text and "1 of 3 rows are not in the training data" in caplog.text


def test_lenient_reading_of_nothing_known_is_refused(from_file):
    with pytest.raises(UsageError, match="Nothing to forget: none of the 2 rows"):
        from_file([("nobody", "i1"), ("a", "b")], forget_strict=False)


LIMITS = {
    "one edge": {"forget_ratio": 1e-9},
    "a whole user": {"forget_type": "user", "forget_users": "u3"},
    "the whole graph": {"forget_ratio": 1.0},
}


@pytest.mark.parametrize("limit", LIMITS)
def test_encoder_is_finite_at_the_limits(prepared, limit):
    run = prepared()
    data = prepare_data(run.config.replace(**LIMITS[limit]))
    task = UnlearningTask(run.config, data.train, data.graph, data.request)
    encoder = InfluenceEncoder(run.original.ego_embeddings().detach(), run.original.final_embeddings(), 3, 0.1)
    ego = encoder(task)
    assert torch.isfinite(run.original.forward(ego, task.remaining_adjacency)).all()


@pytest.mark.parametrize("limit", LIMITS)
def test_runs_are_finite_at_the_limits(settings, limit):
    changes = {**settings, **LIMITS[limit], "unlearn_methods": ["Retrain", "UnlearnRec", "DropEdges"]}
    for row in run_unlearn("LightGCN", "tiny", config_dict=changes)["results"]:
        values = [
            value
            for key, value in row.items()
            if key not in ("method", "stage", "peak_memory_mb", "details", "remarks")
        ]
        assert np.isfinite(values).all(), row
