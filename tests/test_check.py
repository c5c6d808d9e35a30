"""A run refuses, in one line and before it trains, a backbone on which the methods would fail or mislead."""

from types import SimpleNamespace

import pytest
import torch
from recbole.model import (
    context_aware_recommender,
    general_recommender,
    knowledge_aware_recommender,
    sequential_recommender,
)
from recbole.model.abstract_recommender import (
    ContextRecommender,
    GeneralRecommender,
    KnowledgeRecommender,
    SequentialRecommender,
)
from recbole.trainer import Trainer
from recbole.utils import InputType
from test_testing import Buffered, Deep, OwnGraph

from recbole_unlearn import run_unlearn
from recbole_unlearn.errors import UsageError
from recbole_unlearn.model import MODELS, UnlearnableRecommender, dataset_graph

torch.autograd.set_detect_anomaly(False)  # the import of RecBole's sequential models turns it on
BPR = MODELS["BPR"]


class Twofold(BPR):
    """Returns users and items apart, as RecBole's own models do."""

    def forward(self, ego, adjacency):
        return ego.split([self.n_users, self.n_items])


class Biased(BPR):
    """Scores by more than a dot product."""

    def full_sort_predict(self, interaction):
        return super().full_sort_predict(interaction) + 1.0


class NoForward(UnlearnableRecommender, general_recommender.BPR):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.set_graph(dataset_graph(dataset))


class NoGraph(BPR):
    def __init__(self, config, dataset):
        GeneralRecommender.__init__(self, config, dataset)
        self.user_embedding = torch.nn.Embedding(self.n_users, 8)
        self.item_embedding = torch.nn.Embedding(self.n_items, 8)


class OtherNames(UnlearnableRecommender, GeneralRecommender):
    """Keeps its table elsewhere, and does not say where."""

    input_type = InputType.PAIRWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.nodes = torch.nn.Parameter(torch.zeros(self.n_users + self.n_items, 8))
        self.set_graph(dataset_graph(dataset))

    def forward(self, ego, adjacency):
        return ego


class Detached(BPR):
    def model_loss(self, interaction, ego, final, views):
        return final.detach().sum() + 0 * ego.sum()


class Plain(UnlearnableRecommender, GeneralRecommender):
    """A table of settings' width, and more."""

    input_type = InputType.PAIRWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.user_embedding = torch.nn.Embedding(self.n_users, 8)
        self.item_embedding = torch.nn.Embedding(self.n_items, 8)
        self.more(dataset)
        self.set_graph(dataset_graph(dataset))

    def more(self, dataset):
        pass

    def forward(self, ego, adjacency):
        return ego


class Momentum(Plain):
    """Adds a moving mean of the table, as BUIR keeps one."""

    def more(self, dataset):
        self.register_buffer("target", torch.zeros(self.n_users + self.n_items, 8))

    def forward(self, ego, adjacency):
        return ego + self.target

    def training_forward(self, ego, adjacency, views):
        with torch.no_grad():
            self.target.lerp_(ego.detach(), 0.1)
        return self.forward(ego, adjacency), views


class Counts(Plain):
    """Counts what it trains on, in plain numbers, and scores by it."""

    def more(self, dataset):
        self.seen = dict.fromkeys(range(self.n_items), 0)

    def forward(self, ego, adjacency):
        scale = 1 + torch.tensor([0.0] * self.n_users + [count / 10 for count in self.seen.values()])
        return ego * scale[:, None]

    def model_loss(self, interaction, ego, final, views):
        if self.epoch is not None:
            for item in interaction[self.ITEM_ID].tolist():
                self.seen[item] += 1
        return super().model_loss(interaction, ego, final, views)


class HiddenPairs(Plain):
    """Its loss reads the training data from an object of its own."""

    def more(self, dataset):
        graph = dataset_graph(dataset)
        self.pairs = SimpleNamespace(users=graph.users, items=graph.items + graph.n_users)

    def model_loss(self, interaction, ego, final, views):
        own = (final[self.pairs.users] * final[self.pairs.items]).sum(dim=1)
        return super().model_loss(interaction, ego, final, views) - own.sigmoid().sum()


class FrozenItems(Plain):
    def more(self, dataset):
        self.item_embedding.weight.requires_grad_(False)


class FrozenAll(Plain):
    def more(self, dataset):
        self.requires_grad_(False)


class Half(Plain):
    def more(self, dataset):
        self.bfloat16()


class Complex(Plain):
    def more(self, dataset):
        self.to(torch.complex64)


class Uneven(Plain):
    def more(self, dataset):
        self.item_embedding = torch.nn.Embedding(self.n_items, 16)


WRONG = {
    Momentum: "Momentum changes 'target' while it trains, which no method revises",
    Counts: "Counts.forward makes other embeddings of the same table and graph after a step of training",
    HiddenPairs: "HiddenPairs.revised has another loss than a new HiddenPairs on the remaining data",
    FrozenItems: r"FrozenItems does not train item_embedding.weight of its table \(requires_grad is False\)",
    FrozenAll: "FrozenAll does not train user_embedding.weight, item_embedding.weight of its table",
    Half: "Half keeps its table as torch.bfloat16, which graphs' products do not take: use float32 or float64",
    Complex: "Complex keeps its table as torch.complex64",
    Uneven: "Uneven.user_embedding is 8 wide and item_embedding 16: a table has one width",
    Buffered: "Buffered.revised keeps 'popularity' as it was computed from all data, forgotten ones included",
    OwnGraph: "OwnGraph.forward reads the model's own graph",
    Twofold: r"Twofold.forward must return one table of shape \(N, d\), users first, not tuple",
    Deep: "Deep cannot be unlearned: it trains transform.weight, transform.bias besides its embedding",
    Biased: "Biased.full_sort_predict scores unlike its predict",
    NoForward: r"NoForward lacks forward\(self, ego, adjacency\)",
    NoGraph: r"NoGraph.__init__ must end with self.set_graph\(dataset_graph\(dataset\)\)",
    OtherNames: r"OtherNames fails a check on \d+ interactions: AttributeError: .*no attribute 'user_embedding'",
    Detached: "The loss of Detached has no gradient for its table",
}


def refused(settings, monkeypatch, model):
    """The error of a run with this model, which must come before any training."""
    monkeypatch.setitem(MODELS._classes, model.__name__, model)
    monkeypatch.setattr(Trainer, "_train_epoch", lambda *_, **__: pytest.fail("it trains"))
    with pytest.raises(UsageError) as error:
        run_unlearn(model.__name__, "tiny", config_dict=settings)
    assert "\n" not in str(error.value)
    return error


@pytest.mark.parametrize("model", WRONG, ids=lambda model: model.__name__)
def test_a_wrong_backbone_is_refused_before_it_trains(settings, monkeypatch, model):
    assert refused(settings, monkeypatch, model).match(WRONG[model])


GENERAL = [cls for cls in vars(general_recommender).values() if isinstance(cls, type)]
PLAIN = sorted({cls.__name__: cls for cls in GENERAL if issubclass(cls, GeneralRecommender)})


@pytest.mark.parametrize("name", PLAIN)
def test_a_model_of_recbole_as_it_is_gets_one_line(settings, monkeypatch, name):
    base = getattr(general_recommender, name)
    refused(settings, monkeypatch, type(f"Plain{name}", (UnlearnableRecommender, base), {}))


OTHER = [*vars(sequential_recommender).values(), *vars(context_aware_recommender).values()]
OTHER += vars(knowledge_aware_recommender).values()
KINDS = {SequentialRecommender: "sequential", ContextRecommender: "context-aware", KnowledgeRecommender: "knowledge"}


@pytest.mark.parametrize("base", KINDS, ids=KINDS.get)
def test_a_class_of_another_kind_is_refused_as_it_is_written(base):
    classes = {cls for cls in OTHER if isinstance(cls, type) and issubclass(cls, base)}
    assert len(classes) > 5
    for cls in classes:
        with pytest.raises(UsageError, match=f"Mine is a {KINDS[base]}"):
            type("Mine", (UnlearnableRecommender, cls), {})
