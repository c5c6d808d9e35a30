"""What every backbone must hold to."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_unlearn.check import backbone as checks
from recbole_unlearn.check.bench import Bench
from recbole_unlearn.config import Config
from recbole_unlearn.graph import Graph
from recbole_unlearn.model import MODELS, UnlearnableRecommender
from recbole_unlearn.model_file import load_model, save_model
from recbole_unlearn.task import UnlearningData, prepare_data
from recbole_unlearn.testing.runs import fixture, scores, tiny_config
from recbole_unlearn.trainer import train_backbone


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
        config, data = tiny
        return Bench.of(config, data.train)

    def test_forward_takes_a_table_and_a_graph(self) -> None:
        name = self.model.__name__
        assert MODELS[name] is self.model, f"{name} is not registered: put @MODELS.register above the class"
        checks.forward_takes_a_table_and_a_graph(self.model)

    def test_weights_besides_the_table_are_named(self, bench: Bench) -> None:
        checks.weights_besides_the_table_are_named(bench)

    def test_forward_gives_a_row_for_each_node(self, bench: Bench) -> None:
        checks.forward_gives_a_row_for_each_node(bench)

    def test_forward_is_pure(self, bench: Bench) -> None:
        checks.forward_is_pure(bench)

    def test_training_changes_weights_alone(self, bench: Bench) -> None:
        checks.training_changes_weights_alone(bench)

    def test_revised_is_a_fresh_model_on_the_remaining_data(self, bench: Bench) -> None:
        checks.revised_is_a_fresh_model_on_the_remaining_data(bench)

    def test_revised_leaves_the_original_alone(self, bench: Bench) -> None:
        model, batch, name = bench.model, bench.batch, self.model.__name__

        def loss():
            torch.manual_seed(11)  # a loss may be random
            return model.calculate_loss(batch).item()

        seen, graph, first = model.predict(batch), model.graph, loss()
        before = {key: value.clone() for key, value in model.state_dict().items()}
        revised = model.revised(bench.other_table(), bench.remaining_graph)
        assert not revised.training, f"{name}.revised returns a model in training mode"
        revised.set_ego_embeddings(torch.ones_like(bench.other_table()))
        same = all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        assert same and model.graph is graph and model.training, f"{name}.revised changes the model that it copies"
        assert torch.equal(model.predict(batch), seen) and loss() == first, f"{name}.revised changes its original"

    def test_scores_are_dot_products(self, bench: Bench) -> None:
        checks.scores_are_dot_products(bench)

    def test_permuted_users_have_permuted_scores(self, bench: Bench) -> None:
        if not self.permutable:
            return
        model, graph = bench.model.eval(), bench.graph
        permutation = torch.randperm(model.n_users, generator=torch.Generator().manual_seed(1))
        ego = model.ego_embeddings().detach()
        permuted = ego.clone()
        permuted[permutation] = ego[: model.n_users]
        moved = Graph.from_edges(permutation[graph.users], graph.items, graph.n_users, graph.n_items)
        same = torch.allclose(scores(model.revised(permuted, moved))[permutation], scores(model), rtol=1e-4, atol=1e-5)
        assert same, f"{self.model.__name__} scores a user by the id: with other ids its users have other scores"

    def test_loss_has_a_gradient_and_falls(self, bench: Bench) -> None:
        checks.loss_has_a_gradient(bench)
        model, name = bench.model, self.model.__name__
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        losses = []
        for _ in range(10):
            loss = model.calculate_loss(bench.batch)
            optimizer.zero_grad()
            loss.backward()
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
        revised = bench.model.revised(bench.other_table(), bench.remaining_graph)
        save_model(str(tmp_path / "model.safetensors"), revised, bench.config, bench.train)
        _, loaded, _ = load_model(str(tmp_path / "model.safetensors"))
        name = self.model.__name__
        assert isinstance(loaded, self.model), f"A saved {name} loads as {type(loaded).__name__}"
        assert torch.equal(scores(loaded), scores(revised)), f"A saved {name} scores otherwise when it is loaded"
