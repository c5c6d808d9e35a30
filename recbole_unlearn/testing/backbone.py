"""What every backbone must hold to."""

import inspect
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction
from recbole.utils import init_seed

from recbole_unlearn.config import Config
from recbole_unlearn.data.sampler import train_loader
from recbole_unlearn.graph import Graph
from recbole_unlearn.model import MODELS, UnlearnableRecommender
from recbole_unlearn.model_file import load_model, save_model
from recbole_unlearn.task import UnlearningData, prepare_data
from recbole_unlearn.testing.runs import fixture, scores, tiny_config
from recbole_unlearn.trainer import train_backbone


@dataclass(frozen=True)
class Bench:
    """A backbone before its training, in training mode, with weights of a size at which losses are not linear.

    Args:
        config: settings.
        data: split and request.
        model: built on ``data.train``.
        batch: users, items and negative items.
    """

    config: Config
    data: UnlearningData
    model: UnlearnableRecommender
    batch: Interaction

    @classmethod
    def of(cls, config: Config, data: UnlearningData | None = None) -> "Bench":
        """Build the model that the settings name."""
        data = data or prepare_data(config)
        model = fresh(config, data.train)
        return cls(config, data, model.train(), next(iter(train_loader(config, data.train))))

    def other_table(self) -> torch.Tensor:
        """A table that is not the model's own, shape ``(N, d)``."""
        generator = torch.Generator().manual_seed(5)
        return torch.randn(self.model.ego_embeddings().shape, generator=generator).to(self.model.device)


def fresh(config: Config, dataset: Any) -> UnlearnableRecommender:
    """A new model on a dataset, with the same weights for each."""
    init_seed(config["seed"], config["reproducibility"])
    model = MODELS[config["model"]](config, dataset).to(config["device"])
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


class BackboneContract:
    """Checks of one backbone. Subclass it as ``class TestMine(BackboneContract): model = MyModel``.

    Attributes:
        model: a registered class.
        settings: what differs from :func:`~recbole_unlearn.testing.runs.tiny_settings`.
        permutable: whether scores follow when ids are permuted; false for a model that reads ids.
    """

    model: type[UnlearnableRecommender]
    settings: Mapping[str, Any] = {}
    permutable = True

    @fixture(scope="class")
    @classmethod
    def tiny(cls, tmp_path_factory: Any) -> Iterator[tuple[Config, UnlearningData]]:
        """Settings and data; the checks work in a folder of their own."""
        folder = tmp_path_factory.mktemp(cls.model.__name__)
        with tiny_config(folder, cls.model.__name__, cls.settings) as config:
            yield config, prepare_data(config)

    @fixture
    def bench(self, tiny: tuple[Config, UnlearningData]) -> Bench:
        """A model that the check may change."""
        return Bench.of(*tiny)

    def test_forward_takes_a_table_and_a_graph(self) -> None:
        name = self.model.__name__
        assert MODELS[name] is self.model, f"{name} is not registered: put @MODELS.register above the class"
        try:
            inspect.signature(self.model.forward).bind("self", "ego", "adjacency")
        except TypeError as error:
            raise AssertionError(
                f"{name}.forward must take the table and the graph, forward(self, ego, adjacency): {error}"
            ) from None

    def test_only_the_table_is_trained(self, bench: Bench) -> None:
        others = bench.model.parameters_beyond_table()
        assert not others, f"{self.model.__name__} trains {', '.join(others)} besides its table: no method revises it"

    def test_forward_keeps_the_shape(self, bench: Bench) -> None:
        ego = bench.other_table()
        final = bench.model.forward(ego, bench.data.graph.adjacency.to(ego.device))
        assert final.shape == ego.shape, (
            f"{self.model.__name__}.forward makes a table of {tuple(final.shape)} from one of {tuple(ego.shape)}"
        )

    def test_forward_is_pure(self, bench: Bench) -> None:
        """The result depends on both arguments alone, and the arguments stay as they are."""
        model, ego, name = bench.model, bench.other_table(), self.model.__name__
        adjacency = bench.data.remaining_graph.to(ego.device).adjacency
        values = adjacency.values().clone()
        first = model.forward(ego, adjacency).detach().clone()
        assert torch.equal(ego, bench.other_table()), f"{name}.forward changes the table that it is given"
        assert torch.equal(adjacency.values(), values), f"{name}.forward changes the graph that it is given"
        model.set_ego_embeddings(torch.zeros_like(ego))
        assert torch.equal(model.forward(ego, adjacency), first), (
            f"{name}.forward reads the model's own table, or draws at random: it must compute from its arguments"
        )
        model.set_graph(bench.data.valid)
        assert torch.equal(model.forward(ego, adjacency), first), (
            f"{name}.forward reads the model's own graph: it must use the adjacency that it is given"
        )

    def test_revised_is_a_fresh_model_on_the_remaining_data(self, bench: Bench) -> None:
        """Nothing of the forgotten edges stays: neither in the scores nor in a buffer."""
        ego, name = bench.other_table(), self.model.__name__
        revised = bench.model.revised(ego, bench.data.remaining_graph)
        assert not revised.graph.contains(bench.data.request.users, bench.data.request.items).any(), (
            f"{name}.revised keeps forgotten edges in its graph"
        )
        expected = fresh(bench.config, bench.data.remaining)
        expected.set_ego_embeddings(ego)
        expected.eval()
        kept, new = numbers(revised), numbers(expected)
        for key in kept.keys() & new.keys():
            same = kept[key].shape == new[key].shape and np.allclose(kept[key], new[key], atol=1e-6)
            assert same, (
                f"{name}.revised keeps '{key}' as it was computed from all data, forgotten ones included: "
                "compute it in set_graph, or from forward's arguments"
            )
        same = torch.allclose(revised.final_embeddings(), expected.final_embeddings(), atol=1e-5)
        assert same, f"{name}.revised scores unlike a new {name} on the remaining data with the same table"

    def test_revised_leaves_the_original_alone(self, bench: Bench) -> None:
        model, batch, name = bench.model, bench.batch, self.model.__name__

        def loss():
            torch.manual_seed(11)  # a loss may be random
            return model.calculate_loss(batch).item()

        before = {key: value.clone() for key, value in model.state_dict().items()}
        seen, graph, first = model.predict(batch), model.graph, loss()
        revised = model.revised(bench.other_table(), bench.data.remaining_graph)
        assert not revised.training, f"{name}.revised returns a model in training mode"
        revised.set_ego_embeddings(torch.ones_like(bench.other_table()))
        same = all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        assert same and model.graph is graph and model.training, f"{name}.revised changes the model that it copies"
        assert torch.equal(model.predict(batch), seen) and loss() == first, f"{name}.revised changes its original"

    def test_scores_are_dot_products(self, bench: Bench) -> None:
        """RecBole's ``predict`` and ``full_sort_predict`` both score by the final embeddings."""
        model, batch, name = bench.model.eval(), bench.batch, self.model.__name__
        final = model.forward(model.ego_embeddings(), model.adjacency).detach().double()
        rows = batch[model.USER_ID], batch[model.ITEM_ID] + model.n_users
        expected = (final[rows[0]] * final[rows[1]]).sum(dim=1)
        assert torch.allclose(model.predict(batch).double(), expected, rtol=1e-5, atol=1e-5), (
            f"{name}.predict is not the dot product of the final embeddings"
        )
        of_all = model.full_sort_predict(batch).view(len(batch), model.n_items)
        picked = of_all[torch.arange(len(batch)), batch[model.ITEM_ID]].double()
        assert torch.allclose(picked, expected, rtol=1e-5, atol=1e-5), (
            f"{name}.full_sort_predict scores unlike its predict"
        )

    def test_permuted_users_have_permuted_scores(self, bench: Bench) -> None:
        if not self.permutable:
            return
        model, graph = bench.model.eval(), bench.data.graph
        permutation = torch.randperm(model.n_users, generator=torch.Generator().manual_seed(1))
        ego = model.ego_embeddings().detach()
        permuted = ego.clone()
        permuted[permutation] = ego[: model.n_users]
        moved = Graph.from_edges(permutation[graph.users], graph.items, graph.n_users, graph.n_items)
        same = torch.allclose(scores(model.revised(permuted, moved))[permutation], scores(model), rtol=1e-4, atol=1e-5)
        assert same, f"{self.model.__name__} scores a user by the id: with other ids its users have other scores"

    def test_loss_has_a_gradient_and_falls(self, bench: Bench) -> None:
        model, name = bench.model, self.model.__name__
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        losses = []
        for _ in range(10):
            loss = model.calculate_loss(bench.batch)
            optimizer.zero_grad()
            loss.backward()
            gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
            assert all(gradient is not None and gradient.any() for gradient in gradients), (
                f"The loss of {name} has no gradient for its table: something detaches it"
            )
            optimizer.step()
            losses.append(loss.item())
        assert np.isfinite(losses).all() and losses[-1] < losses[0], f"The loss of {name} does not fall: {losses}"

    def test_evaluation_after_training_uses_the_new_weights(self, bench: Bench) -> None:
        model, batch = bench.model.eval(), bench.batch
        before = model.predict(batch)
        model.train()
        model.calculate_loss(batch)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.5)
        model.eval()
        assert not torch.allclose(model.predict(batch), before), f"{self.model.__name__} predicts by its old weights"

    def test_two_trainings_with_the_same_seed_are_equal(self, tiny: tuple[Config, UnlearningData]) -> None:
        config, data = tiny
        models = []
        for number in range(2):
            torch.manual_seed(number)
            np.random.seed(number)
            folder = os.path.join(config["checkpoint_dir"], f"training{number}")
            models.append(train_backbone(config.replace(checkpoint_dir=folder), data.train, "seeded").model)
        assert torch.equal(*map(scores, models)), f"Two trainings of {self.model.__name__} with one seed differ"

    def test_a_saved_model_scores_as_before(self, bench: Bench, tmp_path: Path) -> None:
        revised = bench.model.revised(bench.other_table(), bench.data.remaining_graph)
        save_model(str(tmp_path / "model.safetensors"), revised, bench.config, bench.data.train)
        _, loaded, _ = load_model(str(tmp_path / "model.safetensors"))
        name = self.model.__name__
        assert isinstance(loaded, self.model), f"A saved {name} loads as {type(loaded).__name__}"
        assert torch.equal(scores(loaded), scores(revised)), f"A saved {name} scores otherwise when it is loaded"


def numbers(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """All arrays and tensors that a model holds, by their names."""
    found: dict[str, np.ndarray] = {}

    def collect(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, entry in value.items():
                collect(f"{name}.{key}", entry)
        elif isinstance(value, (list, tuple)):
            for key, entry in enumerate(value):
                collect(f"{name}.{key}", entry)
        elif isinstance(value, torch.Tensor):
            found[name] = (value.detach().to_dense() if value.layout != torch.strided else value.detach()).cpu().numpy()
        elif sp.issparse(value):
            found[name] = value.toarray()
        elif isinstance(value, (np.ndarray, pd.Series)) and np.asarray(value).dtype.kind in "biuf":
            found[name] = np.asarray(value)

    for key, value in vars(model).items():
        if key not in ("_parameters", "_buffers", "_modules"):
            collect(key, value)
    collect_modules = {key: value for key, value in [*model.named_parameters(), *model.named_buffers()]}
    for key, value in collect_modules.items():
        collect(key, value)
    return found
