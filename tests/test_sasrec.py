"""SASRec against attention by hand in double precision, and the order of interactions that it reads."""

import copy

import numpy as np
import pytest
import torch
from scipy.special import erf, log_softmax, softmax

from recbole_unlearn import run_unlearn
from recbole_unlearn.check.bench import fresh, numbers
from recbole_unlearn.data.copies import with_edges_of, with_extra_edges
from recbole_unlearn.deletion.importing.checkpoint import import_checkpoint
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph, dataset_graph
from recbole_unlearn.method import METHODS
from recbole_unlearn.method.influence.curvature import Curvature
from recbole_unlearn.model import MODELS, OrderedNetwork
from recbole_unlearn.model_file import load_model, read_content, save_model, write_content
from recbole_unlearn.task import prepare_data
from recbole_unlearn.testing import MethodContract
from recbole_unlearn.testing.runs import scores
from recbole_unlearn.trainer import train_backbone

SMALL = {"hidden_size": 6, "inner_size": 8, "n_heads": 2, "n_layers": 2, "MAX_ITEM_LIST_LENGTH": 5}
SMALL |= {"train_batch_size": 16, "learning_rate": 0.02, "epochs": 3}


@pytest.fixture
def built(configure):
    """A model with weights of a size at which it is not linear, and the data of its run."""

    def build(**changes):
        config = configure("SASRec", **{**SMALL, **changes})
        data = prepare_data(config)
        return config, data, fresh(config, data.train).eval()

    return build


def histories(data, graph):
    """Each user's items by time, and at one time by id, from the rows of the dataset alone."""
    rows = data.train.inter_feat
    fields = (data.train.uid_field, data.train.iid_field)
    table = zip(*(rows[field].tolist() for field in fields), rows.source["timestamp"].tolist())
    edges = set(zip(graph.users.tolist(), graph.items.tolist()))
    kept = sorted((user, time, item) for user, item, time in table if (user, item) in edges)
    return {user: [item for other, _, item in kept if other == user] for user in range(graph.n_users)}


def hidden_by_hand(model, config, items):
    """The last layer at each position of one sequence, shape ``(L, d)``: query by query, in float64."""
    w = {name: weight.detach().double().numpy() for name, weight in model.named_parameters()}

    def normalised(x, name):
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + config["layer_norm_eps"])
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    x = w["item_embedding.weight"][items] + w["position_embedding.weight"][: len(items)]
    x = normalised(x, "normalisation")
    width = config["hidden_size"] // config["n_heads"]
    for layer in range(config["n_layers"]):
        name = f"encoder.layer.{layer}"
        query, key, value = (linear(x, f"{name}.multi_head_attention.{part}") for part in ("query", "key", "value"))
        read = np.zeros_like(x)
        for head in range(config["n_heads"]):
            own = slice(head * width, (head + 1) * width)
            for t in range(len(items)):
                share = softmax(key[: t + 1, own] @ query[t, own] / np.sqrt(width))
                read[t, own] = share @ value[: t + 1, own]
        x = normalised(x + linear(read, f"{name}.multi_head_attention.dense"), f"{name}.multi_head_attention.LayerNorm")
        inner = linear(x, f"{name}.feed_forward.dense_1")
        inner = inner / 2 * (1 + erf(inner / np.sqrt(2)))
        x = normalised(x + linear(inner, f"{name}.feed_forward.dense_2"), f"{name}.feed_forward.LayerNorm")
    return x


@pytest.mark.parametrize("length", [5, 8, 20])  # of at most eight interactions
def test_scores_and_losses_are_attention_by_hand(built, length):
    config, data, model = built(MAX_ITEM_LIST_LENGTH=length)
    for mine, graph in ((model, data.graph), (model.on_graph(data.remaining_graph), data.remaining_graph)):
        table, examples = mine.item_embedding.weight.detach().double().numpy(), mine.examples()
        losses = dict(zip(examples.tolist(), mine.losses(mine.batch(examples)).tolist()))
        predicted = scores(mine).numpy()
        for user, items in histories(data, graph).items():
            sequence = [0, *items]
            last = hidden_by_hand(mine, config, sequence[-length:])[-1]
            np.testing.assert_allclose(predicted[user], log_softmax(table @ last), atol=1e-4)
            if items:
                window = sequence[-length - 1 :]
                each = log_softmax(hidden_by_hand(mine, config, window[:-1]) @ table.T, axis=1)
                expected = -sum(row[target] for row, target in zip(each, window[1:]))
                np.testing.assert_allclose(losses[user], expected, rtol=1e-4)


def test_curvature_by_finite_differences_in_double_precision(built):
    _, _, model = built()
    model, examples = model.double(), model.examples()
    curvature = Curvature(model, len(examples))
    gradient, generator = curvature.gradient(examples), torch.Generator().manual_seed(1)
    x = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
    step = 1e-5 * x / x.norm()
    ahead, behind = (model.revised(curvature.moved(change), model.graph) for change in (step, -step))
    slope = sum(sign * each.losses(each.batch(examples)).mean().item() for sign, each in ((1, ahead), (-1, behind)))
    np.testing.assert_allclose(2 * (gradient @ step).item(), slope, rtol=1e-5)
    difference = Curvature(ahead, len(examples)).gradient(examples) - Curvature(behind, len(examples)).gradient(
        examples
    )
    product = curvature.product(examples, step)
    np.testing.assert_allclose(2 * product, difference, atol=1e-5 * difference.abs().max().item())


def test_a_forgotten_interaction_leaves_no_trace_and_the_others_keep_their_order(built):
    config, data, model = built()
    forgotten = model.on_graph(data.remaining_graph)
    expected = fresh(config, with_edges_of(data.train, data.remaining_graph)).eval()
    mine, theirs = numbers(forgotten), numbers(expected)
    assert mine.keys() == theirs.keys() and all(np.array_equal(mine[key], theirs[key]) for key in mine)
    users = torch.arange(model.n_users)
    for each, graph in ((model, data.graph), (forgotten, data.remaining_graph)):
        items, sizes = each.sequences(users, 100)
        read = {user: row[1:size] for user, row, size in zip(range(len(users)), items.tolist(), sizes.tolist())}
        assert read == histories(data, graph) and not items[:, 0].any()
    in_steps = model.on_graph(data.graph.without(data.request.users[:5], data.request.items[:5]))
    assert torch.equal(in_steps.on_graph(data.remaining_graph).order, forgotten.order)
    revised = model.revised(dict(model.weights()), data.remaining_graph)
    assert all(np.array_equal(numbers(revised)[key], mine[key]) for key in mine)


def test_a_user_without_interactions_has_scores_of_the_beginning(built):
    _, data, model = built()
    user = int(data.graph.users[0])
    gone = data.graph.users == user
    emptied = model.on_graph(data.graph.subgraph(~gone))
    assert scores(emptied).isfinite().all()
    torch.testing.assert_close(scores(emptied)[user], scores(emptied)[0])
    torch.testing.assert_close(scores(emptied)[user + 1 :], scores(model)[user + 1 :])


def test_another_order_of_rows_gives_the_same_scores(built):
    config, data, model = built()
    generator = torch.Generator().manual_seed(2)
    shuffled = data.train.copy(data.train.inter_feat[torch.randperm(len(data.train), generator=generator)])
    other = fresh(config, shuffled).eval()
    assert torch.equal(other.order, model.order) and torch.equal(scores(other), scores(model))


def test_other_times_give_other_scores_and_another_training(built):
    config, data, model = built()
    rows = copy.copy(data.train.inter_feat)
    rows.source = {"timestamp": -rows.source["timestamp"]}
    reversed_ = data.train.copy(rows)
    other = fresh(config, reversed_).eval()
    assert not torch.allclose(scores(other), scores(model), atol=1e-3)
    files = {train_backbone(config, dataset, "of-times").file for dataset in (data.train, reversed_)}
    assert len(files) == 2


def test_a_repeated_pair_counts_once_at_its_latest_time(built):
    config, data, model = built()
    user, item = data.graph.users[:1], data.graph.items[:1]
    assert histories(data, data.graph)[int(user)][-1] != int(item)
    again = fresh(config, with_extra_edges(data.train, user, item)).eval()  # injected ones are the latest
    assert len(again.graph) == len(model.graph)
    items, sizes = again.sequences(user, 100)
    assert items[0, sizes[0] - 1] == item


def test_an_edge_without_a_time_is_refused(built):
    _, data, model = built()
    with pytest.raises(ValueError, match="edges are new to SASRec"):
        model.on_graph(data.remaining_graph).on_graph(data.graph)


def test_data_without_times_are_refused_in_a_line(configure):
    for changes in ({"load_col": {"inter": ["user_id", "item_id"]}}, {"TIME_FIELD": "moment", "load_col": None}):
        config = configure("SASRec", eval_args={"split": {"RS": [0.8, 0.1, 0.1]}}, **changes)
        with pytest.raises(
            UsageError, match=r"^SASRec reads[^\n]*'(timestamp|moment)' of type float[^\n]*load_col[^\n]*$"
        ):
            fresh(config, prepare_data(config).train)
    with pytest.raises(UsageError, match=r"no column 'moment' of type float to order by"):
        prepare_data(configure("SASRec", TIME_FIELD="moment", load_col=None))


def test_settings_that_do_not_fit_are_refused(configure):
    with pytest.raises(UsageError, match=r"^Setting 'n_heads' must divide hidden_size 6, not 4\."):
        configure("SASRec", **{**SMALL, "n_heads": 4})
    with pytest.raises(UsageError, match="loss_type"):
        configure("SASRec", loss_type="BPR")


def test_importing_it_leaves_anomaly_detection_off():
    assert issubclass(MODELS["SASRec"], OrderedNetwork) and not torch.is_anomaly_enabled()


def test_leave_one_out_is_its_default_and_other_splits_work(configure):
    config = configure("SASRec", **SMALL)
    data = prepare_data(config)
    assert len(data.valid) == len(data.test) == data.graph.n_users - 1
    every = histories(data, data.graph)
    times = {(u, i): t for u, i, t in _timed(data.train)}
    for user, _, time in _timed(data.valid_data._dataset):
        assert time >= max(times[user, other] for other in every[user])
    other = configure("SASRec", **SMALL, eval_args={"split": {"RS": [0.6, 0.2, 0.2]}, "order": "RO"})
    assert len(prepare_data(other).test) != len(data.test) and other["eval_args"]["split"] == {"RS": [0.6, 0.2, 0.2]}
    assert other.for_model("LightGCN")["eval_args"]["split"] == {"RS": [0.6, 0.2, 0.2]}


def _timed(dataset):
    rows = dataset.inter_feat
    return list(zip(rows["user_id"].tolist(), rows["item_id"].tolist(), rows.source["timestamp"].tolist()))


@pytest.mark.parametrize("forget", ["random", "user", "item"])
def test_a_run_with_leave_one_out(settings, forget):
    methods = ["Retrain", "FineTune", "InfluenceCG", "SISA", "UnlearnRec", "DropEdges"]
    chosen = {**SMALL, "epochs": 2, "unlearn_methods": methods, "forget_type": forget, "unlearn_cg_damping": 10.0}
    reports = [
        run_unlearn("SASRec", "tiny", config_dict={**settings, **chosen, "checkpoint_dir": f"saved{number}"})
        for number in range(1 + (forget == "random"))
    ]
    rows = {row["method"]: row for row in reports[0]["results"]}
    assert rows["UnlearnRec"]["details"] == {"no result": "SASRec has no table of users and items that gradients train"}
    for name in ("original", "Retrain", "FineTune", "InfluenceCG", "SISA", "DropEdges"):
        measured = [
            [report["results"][n][key] for key in ("recall@5", "MI-BF", "AUC_FN")]
            for report in reports
            for n, row in enumerate(report["results"])
            if row["method"] == name
        ]
        assert np.isfinite(measured).all()
    if forget == "random":
        for one, two in zip(*(report["results"] for report in reports)):
            same = {key for key in one if key in ("recall@5", "ndcg@5", "MI-BF", "MI-NG", "AUC_FN", "AUC_FT")}
            assert [one.get(key) for key in same] == [two.get(key) for key in same]


class TestFineTuneOfSASRec(MethodContract):
    method, backbone, settings = METHODS["FineTune"], "SASRec", {**SMALL, "unlearn_tune_epochs": 2}


class TestInfluenceOfSASRec(MethodContract):
    method, backbone, settings = METHODS["InfluenceCG"], "SASRec", {**SMALL, "unlearn_cg_damping": 10.0}


class TestSISAOfSASRec(MethodContract):
    method, backbone, settings = METHODS["SISA"], "SASRec", {**SMALL, "epochs": 2}


def test_a_training_resumes_as_if_it_had_not_stopped(whole_and_resumed):
    whole, resumed = whole_and_resumed("SASRec", **SMALL)
    assert torch.equal(scores(resumed), scores(whole))


def test_a_file_has_the_order_of_what_remains_or_is_refused(built, tmp_path):
    config, data, model = built()
    model = model.on_graph(data.remaining_graph)
    path = str(tmp_path / "model.safetensors")
    save_model(path, model, config, data.train)
    _, loaded, _ = load_model(path)
    assert torch.equal(scores(loaded), scores(model)) and torch.equal(loaded.order, model.order)
    again = loaded.on_graph(Graph(*(side[1:] for side in (loaded.graph.users, loaded.graph.items)), *_sizes(loaded)))
    assert len(again.order) == len(loaded.order) - 1
    content = read_content(path)
    for wrong in (content["state_dict"]["order"].flip(0), torch.zeros_like(content["state_dict"]["order"])):
        write_content(path, {**content, "state_dict": {**content["state_dict"], "order": wrong}})
        with pytest.raises(UsageError, match=r"its order is none of its edges$"):
            load_model(path)
    save_model(path, model, config, data.train)
    with pytest.raises(UsageError, match=r"^[^\n]*a network: a store revises tables and fits[^\n]*$"):
        import_checkpoint(path)


def _sizes(model):
    return model.n_users, model.n_items


def test_injected_interactions_are_the_latest(configure):
    config = configure("SASRec", **SMALL, forget_type="spam", forget_ratio=0.05)
    data = prepare_data(config)
    times = {(user, item): time for user, item, time in _timed(data.train)}
    latest = max(times.values())
    assert all(times[pair] == latest for pair in zip(data.request.users.tolist(), data.request.items.tolist()))
    assert dataset_graph(data.train).contains(data.request.users, data.request.items).all()
