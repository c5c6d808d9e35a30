"""What every network must hold to."""

import os
from pathlib import Path

import torch

from recbole_unlearn.check import network as checks
from recbole_unlearn.config import Config
from recbole_unlearn.model import NetworkRecommender
from recbole_unlearn.task import UnlearningData
from recbole_unlearn.testing.model import ModelContract
from recbole_unlearn.testing.runs import fixture, scores
from recbole_unlearn.trainer import train_backbone


class NetworkContract(ModelContract):
    """Checks of one network. Subclass it as ``class TestMine(NetworkContract): model = MyModel``."""

    model: type[NetworkRecommender]

    @fixture
    def net(self, tiny: tuple[Config, UnlearningData]) -> checks.Net:
        """A network that the check may change."""
        config, data = tiny
        return checks.Net.of(config, data.train)

    def test_losses_are_one_an_example(self, net: checks.Net) -> None:
        checks.losses_are_one_an_example(net)

    def test_training_changes_weights_alone(self, net: checks.Net) -> None:
        checks.training_changes_weights_alone(net)

    def test_on_graph_is_a_fresh_model_on_the_remaining_data(self, net: checks.Net) -> None:
        checks.on_graph_is_a_fresh_model_on_the_remaining_data(net)

    def test_scores_are_log_probabilities(self, net: checks.Net) -> None:
        checks.scores_are_log_probabilities(net)

    def test_two_trainings_with_the_same_seed_are_equal(self, tiny: tuple[Config, UnlearningData]) -> None:
        config, data = tiny
        models = []
        for number in range(2):
            torch.manual_seed(number)
            folder = os.path.join(config["checkpoint_dir"], f"training{number}")
            models.append(train_backbone(config.replace(checkpoint_dir=folder), data.train, "seeded").model)
        assert torch.equal(*map(scores, models)), f"Two trainings of {self.model.__name__} with one seed differ"

    def test_the_loss_falls(self, net: checks.Net) -> None:
        before = net.losses(net.model).mean().item()
        model = net.model.train()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        for _ in range(20):
            optimizer.zero_grad()
            model.calculate_loss(model.batch(model.examples())).backward()
            optimizer.step()
        after = net.losses(model.eval()).mean().item()
        assert after < before, f"The loss of {self.model.__name__} does not fall: {before} before, {after} after"

    def test_a_saved_model_scores_as_before(
        self, net: checks.Net, tiny: tuple[Config, UnlearningData], tmp_path: Path
    ) -> None:
        self.scores_as_before_it_was_saved(net.model.on_graph(net.remaining), tiny, tmp_path)
