"""Own backbones of unusual shape work, or say what does not: other widths, histories, no negatives, a loss of their own."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType

from recbole_unlearn import load_data_and_model, run_unlearn
from recbole_unlearn.model import MODELS, UnlearnableRecommender, dataset_graph
from recbole_unlearn.propagation import propagate


class Odd(UnlearnableRecommender, GeneralRecommender):
    input_type = InputType.PAIRWISE
    factor = 1  # of embedding_size

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        width = int(config["embedding_size"] * self.factor)
        self.user_embedding = torch.nn.Embedding(self.n_users, width)
        self.item_embedding = torch.nn.Embedding(self.n_items, width)
        self.set_graph(dataset_graph(dataset))

    def forward(self, ego, adjacency):
        return ego + propagate(adjacency, ego)


class Twice(Odd):
    """A table twice as wide as the setting."""

    factor = 2


class Half(Odd):
    factor = 0.5


class Wider(Odd):
    """Final embeddings twice as wide as the table: its layers side by side."""

    def forward(self, ego, adjacency):
        return torch.cat([ego, propagate(adjacency, ego)], dim=1)


class WithHistory(Odd):
    """Reads each user's history while it is built, as RecBole's ENMF and others do."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        items, _, lengths = dataset.history_item_matrix()
        assert items.shape[0] == len(lengths) == self.n_users
        assert dataset.inter_matrix(form="csr").nnz == int(lengths.sum())


class Pointwise(Odd):
    """Squared error of the batch's pairs, without negative items."""

    input_type = InputType.POINTWISE

    def model_loss(self, interaction, ego, final, views):
        users, items = final.split([self.n_users, self.n_items])
        scores = (users[interaction[self.USER_ID]] * items[interaction[self.ITEM_ID]]).sum(dim=1)
        return (1 - scores).square().mean() + 0.01 * ego.square().mean()


class Cosine(Odd):
    """Final embeddings of length 1: not linear in the table."""

    def forward(self, ego, adjacency):
        return F.normalize(super().forward(ego, adjacency), dim=1)


@pytest.fixture
def run(settings, monkeypatch):
    """Run a class with all methods; returns the report."""

    def run(model, **changes):
        monkeypatch.setitem(MODELS._classes, model.__name__, model)
        given = {**settings, "unlearn_methods": "all", "epochs": 2, "unlearn_finetune_epochs": 0, **changes}
        return run_unlearn(model.__name__, "tiny", config_dict=given)

    return run


def no_result(report):
    """Why methods have no result, by their names."""
    rows = [row for row in report["results"] if "no result" in row.get("details", {})]
    return {row["method"]: str(row["details"]["no result"]) for row in rows}


@pytest.mark.parametrize("model", [Twice, Half, WithHistory])
def test_all_methods_serve_it_and_its_files_load(run, settings, model):
    report = run(model)
    assert not no_result(report)
    (file,) = Path(settings["checkpoint_dir"]).glob("DropEdges-*.safetensors")
    _, loaded, *_ = load_data_and_model(file)
    assert type(loaded) is model
    assert loaded.ego_embeddings().shape[1] == int(settings["embedding_size"] * model.factor)


def test_methods_that_cannot_serve_a_loss_of_its_own_have_a_row_that_says_so(run):
    report = run(Pointwise, train_neg_sample_args=None)
    assert set(no_result(report)) == {"IFRU", "SCIF"}
    assert all("takes the BPR of single edges" in reason for reason in no_result(report).values())


def test_final_embeddings_may_be_wider_than_the_table(run):
    report = run(Wider, unlearn_methods=["UnlearnRec", "GIF", "GNNDelete", "DropEdges"], epochs=20)
    assert no_result(report) == {
        "GNNDelete": "GNNDelete needs final embeddings of the table's width; leave it out of --unlearn_methods."
    }
    rows = {(row["method"], row["stage"]): row for row in report["results"]}
    assert rows["UnlearnRec", "zero-shot"]["AUC_FN"] < rows["DropEdges", ""]["AUC_FN"]


def test_a_readout_that_is_not_linear_is_forgotten_with(run):
    report = run(Cosine, epochs=20)
    assert set(no_result(report)) == {"GNNDelete"}
    rows = {(row["method"], row["stage"]): row for row in report["results"]}
    assert rows["UnlearnRec", "zero-shot"]["AUC_FN"] < rows["original", ""]["AUC_FN"]
