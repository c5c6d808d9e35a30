"""The case study: pairs drawn around those that are forgotten, and what models make of them."""

import csv
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import case_study
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.task import prepare_data

GROUPS = ("forgotten", "kept, alike", "kept, others", "unseen, alike", "unseen, others")
MODELS = ("original", "Retrain", "UnlearnRec zero-shot")
CASES = {"one": 1, "three": 3}


@pytest.fixture
def small(monkeypatch):
    """Cases that fit into tiny's eight training interactions a user."""
    for name, value in (("N_USERS", 4), ("FORGOTTEN", CASES), ("GROUP", 2)):
        monkeypatch.setattr(case_study, name, value)


@pytest.fixture
def study(small, settings, monkeypatch):
    """Run it on the tiny dataset: ``study("folder")`` returns its report."""

    def run(folder):
        places = {"checkpoint_dir": folder, "report_file": f"{folder}/report.json"}
        arguments = [f"--{key}={value}" for key, value in {**settings, **places}.items()]
        monkeypatch.setattr(sys, "argv", ["case_study.py", "--model=LightGCN", "--dataset=tiny", *arguments])
        case_study.main()
        return json.loads(Path(places["report_file"]).read_text())

    return run


class Listening(np.random.Generator):
    """Draws, and remembers what was drawn."""

    def __init__(self, seed):
        super().__init__(np.random.PCG64(seed))
        self.drawn = []

    def choice(self, *arguments, **options):
        self.drawn.append(super().choice(*arguments, **options))
        return self.drawn[-1]


def matrices(data):
    """Training interactions, and all, as dense booleans."""
    dense = [np.zeros((data.graph.n_users, data.graph.n_items), dtype=bool) for _ in range(2)]
    for matrix, graph in zip(dense, (data.graph, Graph.union(*data.observed))):
        matrix[graph.users, graph.items] = True
    return dense


def draw(data, user, n_forgotten, seed):
    """A user's groups, and the item that was drawn to be forgotten."""
    train, observed = matrices(data)
    generator = Listening(seed)
    groups = case_study.groups_of(
        user, sp.csc_matrix(train.astype(float)), sp.csr_matrix(observed.astype(float)), n_forgotten, generator
    )
    return groups, generator.drawn[0]


def test_likeness_is_the_cosine_of_columns():
    dense = (np.random.default_rng(0).random((20, 12)) < 0.3).astype(float)
    dense[:, 5] = 0  # nobody's
    norms = np.linalg.norm(dense, axis=0)
    cosines = dense.T @ dense / np.maximum(np.outer(norms, norms), 1e-9)
    for item in range(12):
        assert case_study.likeness(sp.csc_matrix(dense), item) == pytest.approx(cosines[item])


@pytest.mark.parametrize("n_forgotten", [1, 3])
def test_groups_are_what_their_names_say(small, configure, n_forgotten):
    data = prepare_data(configure())
    train, observed = matrices(data)
    for user in range(1, 41):
        groups, drawn = draw(data, user, n_forgotten, user)
        assert {name: len(items) for name, items in groups.items()} == {
            **dict.fromkeys(GROUPS, 2),
            "forgotten": n_forgotten,
        }
        forgotten, kept = groups["forgotten"], np.concatenate([groups["kept, alike"], groups["kept, others"]])
        assert drawn in forgotten and train[user, forgotten].all() and train[user, kept].all()
        assert len(set(forgotten) | set(kept)) == n_forgotten + 4, "disjoint"
        unseen = np.concatenate([groups["unseen, alike"], groups["unseen, others"]])
        assert not observed[user, unseen].any() and unseen.min() > 0

        alike = case_study.likeness(sp.csc_matrix(train.astype(float)), drawn)
        assert (
            alike[forgotten].min()
            >= alike[groups["kept, alike"]].max()
            >= alike[groups["kept, alike"]].min()
            >= alike[groups["kept, others"]].max()
        )
        free = np.setdiff1d(np.flatnonzero(~observed[user]), [0, *groups["unseen, alike"]])
        assert alike[groups["unseen, alike"]].min() >= alike[free].max()


def test_unseen_groups_are_disjoint(small, configure):
    data = prepare_data(configure())
    for user in range(1, 41):
        groups, _ = draw(data, user, 1, user)
        assert len(set(groups["unseen, alike"]) | set(groups["unseen, others"])) == 4


def test_the_drawn_one_is_forgotten_though_another_is_its_twin(small):
    matrix = sp.csc_matrix(np.tri(12, 20)[::-1].repeat(2, axis=1))  # each item twice, under two ids
    for seed in range(20):
        generator = Listening(seed)
        groups = case_study.groups_of(1, matrix, matrix.tocsr(), 1, generator)
        assert groups["forgotten"].tolist() == [generator.drawn[0]]


def test_cases_are_of_different_users(small, configure):
    data = prepare_data(configure())
    cases = case_study.draw_cases(data, 7)
    users = {case: set(groups["forgotten"][0].tolist()) for case, groups in cases.items()}
    assert [len(some) for some in users.values()] == [4, 4] and not users["one"] & users["three"]
    for case, groups in cases.items():
        assert list(groups) == list(GROUPS) and len(groups["forgotten"][0]) == 4 * CASES[case]
        assert all(set(side.tolist()) == users[case] for side, _ in groups.values())
    again = case_study.draw_cases(data, 7)
    assert all(
        np.array_equal(again[case][group], pairs) for case, groups in cases.items() for group, pairs in groups.items()
    )
    assert {*case_study.draw_cases(data, 8)["one"]["forgotten"][0].tolist()} != users["one"]


def test_users_without_enough_unseen_items_have_no_case(small, configure):
    data = prepare_data(configure())
    n_users, n_items = data.graph.n_users, data.graph.n_items
    pairs = torch.cartesian_prod(torch.arange(2, n_users), torch.arange(1, n_items))  # all but the first have all
    data = replace(data, test=Graph.from_edges(*pairs.t(), n_users, n_items))
    with pytest.raises(UsageError, match="needs 2 users .* there are 1"):
        case_study.draw_cases(data, 7)


def test_a_study_from_end_to_end(study, configure):
    report = study("saved")
    cases = report["cases"]
    assert list(cases) == list(CASES) and all(list(groups) == list(GROUPS) for groups in cases.values())
    assert all(
        list(means) == list(MODELS) and np.isfinite(list(means.values())).all()
        for groups in cases.values()
        for means in groups.values()
    )

    data = prepare_data(configure())
    drawn = case_study.draw_cases(data, 7)
    train = data.train
    ids = [pair for groups in drawn.values() for pair in zip(*groups["forgotten"])]
    expected = [(train.id2token(train.uid_field, user), train.id2token(train.iid_field, item)) for user, item in ids]
    with open("saved/report.inter", newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    assert header == ["user_id:token", "item_id:token"] and sorted(map(tuple, rows)) == sorted(expected)
    assert report["forget"] == {
        "type": "file",
        "n_interactions": 16,
        "n_users": 8,
        "n_items": len({item for _, item in ids}),
        "n_skipped": 0,
    }

    with np.load(
        "saved/report.npz"
    ) as scores:  # of all that is forgotten, 4 pairs of the first case and 12 of the second
        for model in MODELS:
            mean = (4 * cases["one"]["forgotten"][model] + 12 * cases["three"]["forgotten"][model]) / 16
            assert mean == pytest.approx(scores[f"{model}/forget"].mean(), rel=1e-4)


def test_twice_is_the_same(study):
    first, second = study("first"), study("second")
    assert first["cases"] == second["cases"] and first["data"] == second["data"]


def test_models_of_another_run_are_refused(study, settings, monkeypatch, capsys):
    def other_run(model, dataset, files, given):
        """As one started meanwhile does, which writes the same files."""
        run_unlearn(model, dataset, files, {**given, "epochs": 2})

    run_unlearn = case_study.run_unlearn
    monkeypatch.setattr(case_study, "run_unlearn", other_run)
    with pytest.raises(SystemExit) as end:
        study("saved")
    assert end.value.code == 2
    assert re.match(
        "case_study: 'saved/original-LightGCN-tiny-file-7.safetensors' is of another run, .*\n$",
        capsys.readouterr().err,
    )
    assert "cases" not in json.loads(Path("saved/report.json").read_text())
