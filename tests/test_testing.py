"""The contracts report what is wrong with a wrong backbone and a wrong method."""

import pytest
import torch

from recbole_unlearn.check.bench import Bench
from recbole_unlearn.errors import UsageError
from recbole_unlearn.method import METHODS, Stage, Unlearner
from recbole_unlearn.model import MODELS, dataset_graph
from recbole_unlearn.propagation import propagate
from recbole_unlearn.task import prepare_data
from recbole_unlearn.testing import BackboneContract, MethodContract, prepared_run
from recbole_unlearn.testing.method import Done

BPR = MODELS["BPR"]


class Buffered(BPR):
    """Weighs items by their popularity in all data."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        popularity = dataset_graph(dataset).degrees().float()
        self.register_buffer("popularity", 1 + popularity[:, None] / popularity.max())

    def forward(self, ego, adjacency):
        return ego * self.popularity


class OwnGraph(BPR):
    """Leaves out the graph that it is given."""

    def forward(self, ego, adjacency):
        return ego + propagate(self.adjacency, ego)


class NoGraph(BPR):
    """Takes no graph."""

    def forward(self, ego):
        return ego


class Shorter(BPR):
    def forward(self, ego, adjacency):
        return ego[1:]


class OwnTable(BPR):
    def forward(self, ego, adjacency):
        return ego + self.ego_embeddings()


class Detached(BPR):
    def forward(self, ego, adjacency):
        return propagate(adjacency, ego.detach()) + 0 * ego


class Deep(BPR):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.transform = torch.nn.Linear(8, 8)


class ById(BPR):
    def forward(self, ego, adjacency):
        return ego * torch.linspace(0.5, 1.5, len(ego))[:, None]


class Counting(BPR):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.register_buffer("steps", torch.zeros(()))

    def calculate_loss(self, interaction):
        self.steps += 1
        return super().calculate_loss(interaction)


class Stale(BPR):
    def train(self, mode=True):
        return torch.nn.Module.train(self, mode)

    def calculate_loss(self, interaction):
        return self.user_embedding.weight.square().mean()


class Overwrites(Unlearner):
    """Changes the original."""

    def unlearn(self):
        self.original.set_ego_embeddings(self.original.ego_embeddings() * 0.5)
        yield Stage("", self.original.revised(self.original.ego_embeddings(), self.data.remaining_graph))


class Unseeded(Unlearner):
    """Draws without a seed."""

    def unlearn(self):
        ego = self.original.ego_embeddings()
        yield Stage("", self.revised(self.original, ego + 0.1 * torch.randn_like(ego)))


class Foresees(Unlearner):
    def prepare(self):
        self.table = self.original.ego_embeddings() * (1 + len(self.data.request))
        return 0.0

    def unlearn(self):
        self.data.test.users.float().mean()
        yield Stage("", self.revised(self.original, self.table))


class Eager(Unlearner):
    def unlearn(self):
        return iter([Stage("", self.revised(self.original, self.original.ego_embeddings()))])


class Keeps(Unlearner):
    def unlearn(self):
        yield Stage("", self.original.revised(self.original.ego_embeddings() + torch.inf, self.data.graph))


@pytest.fixture
def registered(monkeypatch):
    """Register a class for this test."""

    def register(registry, cls):
        monkeypatch.setitem(registry._classes, cls.__name__, cls)
        return cls

    return register


@pytest.mark.parametrize(
    "model, check, message",
    [
        (Buffered, "revised_is_a_fresh_model_on_the_remaining_data", "revised keeps 'popularity' as it was computed"),
        (OwnGraph, "forward_is_pure", "OwnGraph.forward reads the model's own graph"),
        (OwnTable, "forward_is_pure", "OwnTable.forward reads the model's own table"),
        (
            Shorter,
            "forward_gives_a_row_for_each_node",
            r"Shorter.forward makes a table of \(71, 8\) from one of \(72, 8\)",
        ),
        (Detached, "loss_has_a_gradient_and_falls", "has no gradient for its table|does not fall"),
        (
            Deep,
            "weights_besides_the_table_are_named",
            "Deep cannot be unlearned: it trains transform.weight, transform.bias besides",
        ),
        (ById, "permuted_users_have_permuted_scores", "ById scores a user by the id"),
        (Counting, "training_changes_weights_alone", "Counting changes 'steps' while it trains"),
        (Stale, "evaluation_after_training_uses_the_new_weights", "Stale predicts by its old weights"),
    ],
)
def test_a_wrong_backbone_is_found(registered, configure, model, check, message):
    contract = type("Contract", (BackboneContract,), {"model": registered(MODELS, model)})()
    config = configure(model.__name__)
    with pytest.raises((AssertionError, UsageError), match=message):
        getattr(contract, f"test_{check}")(Bench.of(config, prepare_data(config).train))


def test_a_forward_without_the_graph_is_found(registered):
    contract = type("Contract", (BackboneContract,), {"model": registered(MODELS, NoGraph)})()
    with pytest.raises(UsageError, match=r"NoGraph.forward must take the table and the graph.*too many positional"):
        contract.test_forward_takes_a_table_and_a_graph()
    with pytest.raises(AssertionError, match="put @MODELS.register above the class"):
        type(
            "Contract", (BackboneContract,), {"model": type("LightGCN", (BPR,), {})}
        )().test_forward_takes_a_table_and_a_graph()


@pytest.mark.parametrize(
    "method, check, message",
    [
        (Overwrites, "what_it_is_given_stays_as_it_is", "Overwrites changes the original model or the data"),
        (Unseeded, "another_run_is_equal", "Unseeded  draws at random without a seed"),
        (Foresees, "preparing_sees_no_request", "Foresees.prepare reads data.request: the request comes later"),
        (Foresees, "unlearning_sees_no_test_data", "Foresees.unlearn reads data.test"),
        (Eager, "prepare_and_unlearn_are_timed_apart", "Eager.unlearn must yield its stages"),
        (Keeps, "its_graphs_hold_no_forgotten_edge", "the result's graph has forgotten edges"),
        (Keeps, "results_are_finite", "not finite"),
        (Unseeded, "an_empty_request_changes_nothing", "although nothing is to be forgotten"),
        (Unseeded, "what_it_prepared_serves_again", "another result when it unlearns a second time"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
def test_a_wrong_method_is_found(registered, configure, method, check, message):
    contract = type("Contract", (MethodContract,), {"method": registered(METHODS, method)})()
    run = prepared_run(configure(unlearn_methods=method.__name__))
    given = run if check == "an_empty_request_changes_nothing" else Done.of(method, run)
    with pytest.raises((AssertionError, UsageError), match=message):
        getattr(contract, f"test_{check}")(given)


def test_shared_trainings_are_copies(configure):
    first, second = (prepared_run(configure()) for _ in range(2))
    assert first.data is second.data and first.original is not second.original
    first.original.set_ego_embeddings(torch.zeros_like(first.original.ego_embeddings()))
    assert second.original.ego_embeddings().any() and prepared_run(configure()).original.ego_embeddings().any()
    assert prepared_run(configure(seed=8)).data is not first.data
