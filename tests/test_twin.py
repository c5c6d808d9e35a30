"""The twin: what it trains on, what it teaches, and the encoder that it makes."""

import numpy as np
import pytest
import torch
from test_unseen import edgeless, model_on, random_graph, seeded

from recbole_unlearn import calibration, run_unlearn
from recbole_unlearn.calibration import TwinTraining, fit_encoder
from recbole_unlearn.encoder import twin as twins
from recbole_unlearn.encoder.features import pair_features
from recbole_unlearn.encoder.spectrum import Spectrum
from recbole_unlearn.encoder.target import UnseenScores
from recbole_unlearn.encoder.twin import TwinData
from recbole_unlearn.graph import Graph
from recbole_unlearn.method import METHODS
from recbole_unlearn.trainer import train_backbone

SIDES = {"n_users": 60, "n_items": 50}


@pytest.fixture(scope="module")
def graph():
    return random_graph(900, **SIDES)


@pytest.fixture(scope="module")
def held_out(graph):
    return random_graph(200, seed=7, **SIDES).without(graph.users, graph.items)


def as_set(pairs):
    return set(zip(*(side.tolist() for side in pairs)))


def test_removed_pairs_are_edges_and_added_ones_were_never_seen(graph, held_out):
    drawn = TwinData.draw(model_on(graph), held_out, seeded())
    edges, shared = as_set((graph.users, graph.items)), as_set((drawn.shared.users, drawn.shared.items))
    removed, added = as_set(drawn.removed), as_set(drawn.added)
    assert len(removed) == len(drawn.removed[0]) == len(graph) // 10, "a tenth at most of a small graph"
    assert removed < edges and shared == edges - removed
    assert 0.5 * len(removed) < len(added) == len(drawn.added[0]) <= len(removed)
    assert not added & (edges | as_set((held_out.users, held_out.items)))
    assert all(0 not in pair for pair in added)
    assert (drawn.shared.n_users, drawn.shared.n_items) == (60, 50)


@pytest.mark.parametrize(
    "share, least, most, expected",
    [(0.1, 0, 10**6, 0.1), (0.01, 50, 10**6, 50), (0.2, 0, 60, 60), (0.9, 0, 10**6, 0.1), (0.01, 10**6, 10**6, 0.1)],
)
def test_how_many_pairs_differ(graph, held_out, monkeypatch, share, least, most, expected):
    for name, value in {"SHARE": share, "LEAST": least, "MOST": most}.items():
        monkeypatch.setattr(twins, name, value)
    drawn = TwinData.draw(model_on(graph), held_out, seeded())
    n_pairs = round(expected * len(graph)) if expected < 1 else expected
    assert abs(len(drawn.removed[0]) - n_pairs) <= 1 and len(drawn.added[0]) <= len(drawn.removed[0])


def test_a_draw_is_the_generators(graph, held_out):
    first, second, other = (TwinData.draw(model_on(graph), held_out, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.stack(first.removed), torch.stack(second.removed))
    assert torch.equal(torch.stack(first.added), torch.stack(second.added))
    assert as_set(first.removed) != as_set(other.removed) and as_set(first.added) != as_set(other.added)


@pytest.mark.parametrize("n_edges", [0, 1, 5])
def test_tiny_graphs_have_a_draw(n_edges):
    ends = torch.arange(1, 1 + n_edges)
    graph = Graph.from_edges(ends, ends, 8, 7)
    drawn = TwinData.draw(model_on(graph), edgeless(8, 7), seeded())
    assert len(drawn.removed[0]) == n_edges // 10 >= len(drawn.added[0])
    assert len(drawn.shared) == n_edges - n_edges // 10


def test_each_model_gives_the_features_of_what_it_saw_and_the_other_one_the_score(graph, held_out):
    original = model_on(graph)
    drawn = TwinData.draw(original, held_out, seeded())
    twin = model_on(Graph.union(drawn.shared, Graph.from_edges(*drawn.added, 60, 50)), seed=9)
    examples = drawn.examples(original, twin)
    spectrum = Spectrum.of(drawn.shared)
    expected = [
        pair_features(drawn.shared, spectrum, original.ego_embeddings(), *drawn.removed),
        pair_features(drawn.shared, spectrum, twin.ego_embeddings(), *drawn.added),
    ]
    torch.testing.assert_close(examples.features, torch.cat(expected))
    scores = []
    for model, (users, items) in ((twin, drawn.removed), (original, drawn.added)):
        final = model.final_embeddings().double().numpy()
        scores.append((final[users] * final[60 + items]).sum(axis=1))
    np.testing.assert_allclose(examples.scores, np.concatenate(scores), atol=1e-5)


def test_the_twin_trains_on_its_data_by_a_stream_of_its_own(prepared, monkeypatch):
    run, seen = prepared(), []

    def spy(config, dataset, name, valid_data):
        seen.append((dataset, name, valid_data))
        return train_backbone(config, dataset, name, valid_data)

    monkeypatch.setattr(calibration, "train_backbone", spy)
    data = run.data
    encoder, seconds = fit_encoder(run.config, run.original, data.valid, TwinTraining(data.train, data.valid_data))
    ((dataset, name, valid_data),) = seen
    assert name == "twin" and valid_data is data.valid_data and seconds == 0
    feat = dataset.inter_feat
    trained_on = as_set((feat[dataset.uid_field], feat[dataset.iid_field]))
    edges = as_set((data.graph.users, data.graph.items))
    gone, new = edges - trained_on, trained_on - edges
    assert len(gone) == len(edges) // 10 and 0 < len(new) <= len(gone) and len(feat) == len(trained_on)
    assert not new & as_set((data.valid.users, data.valid.items))
    assert encoder.scores(torch.zeros(2, encoder.scores.booster.num_feature())).isfinite().all()


@pytest.mark.parametrize("with_twin", [True, False])
def test_the_original_teaches_by_decoys_and_held_out_pairs_and_beside_it_the_twin(prepared, monkeypatch, with_twin):
    run, given = prepared(), []
    fit = UnseenScores.fit
    monkeypatch.setattr(UnseenScores, "fit", lambda *examples: given.extend(examples) or fit(*examples))
    twin = TwinTraining(run.data.train, run.data.valid_data) if with_twin else None
    fit_encoder(run.config, run.original, run.data.valid, twin)
    unseen, taught = given[0], given[1:]
    n_edges, n_held_out = len(run.data.graph), len(run.data.valid)
    n_free = (run.data.graph.n_users - 1) * (run.data.graph.n_items - 1) - n_edges - n_held_out
    assert 0.3 * n_free < len(unseen.scores) - n_held_out <= n_free
    assert len(taught) == with_twin
    if with_twin:
        assert n_edges // 10 < len(taught[0].scores) <= 2 * (n_edges // 10)


def test_an_encoder_is_the_same_twice_and_another_without_a_twin(prepared, tmp_path):
    run, plain = prepared(), []
    for folder in ("first", "second"):
        config = run.config.replace(checkpoint_dir=str(tmp_path / folder))
        twin = TwinTraining(run.data.train, run.data.valid_data)
        plain.append(fit_encoder(config, run.original, run.data.valid, twin)[0].to_plain())
    plain.append(fit_encoder(run.config, run.original, run.data.valid)[0].to_plain())
    with_twin, again, without = plain
    assert with_twin["scores"] == again["scores"] != without["scores"]
    assert all(torch.equal(with_twin[name], again[name]) for name in ("gain", "cost"))
    assert not list((tmp_path / "saved").glob("twin*")), "without a twin, nothing is trained"


def test_a_twin_that_was_trained_before_is_loaded(prepared):
    run = prepared()
    twin, encoders, seconds = TwinTraining(run.data.train, run.data.valid_data), [], []
    for _ in range(2):
        encoder, before = fit_encoder(run.config, run.original, run.data.valid, twin)
        encoders.append(encoder.to_plain())
        seconds.append(before)
    assert seconds[0] == 0 < seconds[1] and encoders[0]["scores"] == encoders[1]["scores"]


@pytest.mark.parametrize("teacher", ["twin", "none"])
def test_the_setting_chooses_the_teacher(prepared, monkeypatch, teacher):
    run, given = prepared(unlearn_methods="UnlearnRec", ie_teacher=teacher), []
    fit = calibration.fit_encoder
    monkeypatch.setattr(
        "recbole_unlearn.method.unlearnrec.fit_encoder",
        lambda config, original, held_out, twin, *more: (
            given.append(twin) or fit(config, original, held_out, twin, *more)
        ),
    )
    METHODS["UnlearnRec"](run.config, run.data, run.original).prepare()
    assert [twin is not None for twin in given] == [teacher == "twin"]


@pytest.mark.parametrize("teacher", ["twin", "none"])
def test_forgetting_is_nearer_to_retraining_than_the_no_op(settings, teacher):
    """What tells forgotten pairs from pairs never seen, adversarial request."""
    changes = {"epochs": 40, "forget_type": "adversarial", "forget_ratio": 0.1, "forget_attack_epochs": 10}
    changes |= {"unlearn_methods": "Retrain,DropEdges,UnlearnRec", "ie_teacher": teacher}
    report = run_unlearn("LightGCN", "tiny", config_dict={**settings, **changes}, saved=False)
    gaps = {(row["method"], row.get("stage")): row["AUC_FN_gap"] for row in report["gaps"]}
    nothing_done = gaps.pop(("DropEdges", ""))
    assert nothing_done > 0.2
    for stage in ("zero-shot", "fine-tuned"):
        assert gaps["UnlearnRec", stage] < 0.6 * nothing_done
