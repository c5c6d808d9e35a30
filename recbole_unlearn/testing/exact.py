"""What every fitted model must hold to."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from recbole_unlearn.check import exact as checks
from recbole_unlearn.config import Config
from recbole_unlearn.model import MODELS, ExactRecommender
from recbole_unlearn.model_file import load_model, save_model
from recbole_unlearn.task import UnlearningData, prepare_data
from recbole_unlearn.testing.runs import fixture, scores, tiny_config


class ExactContract:
    """Checks of one fitted model. Subclass it as ``class TestMine(ExactContract): model = MyModel``.

    Attributes:
        model: a registered class.
        settings: what differs from :func:`~recbole_unlearn.testing.runs.tiny_settings`.
    """

    model: type[ExactRecommender]
    settings: Mapping[str, Any] = {}

    @fixture(scope="class")
    @classmethod
    def tiny(cls, tmp_path_factory: Any) -> Iterator[tuple[Config, UnlearningData]]:
        """Settings and data; the checks work in a folder of their own."""
        name = cls.model.__name__
        assert MODELS[name] is cls.model, f"{name} is not registered: put @MODELS.register above the class"
        with tiny_config(tmp_path_factory.mktemp(name), name, cls.settings) as config:
            yield config, prepare_data(config)

    @fixture
    def fit(self, tiny: tuple[Config, UnlearningData]) -> checks.Fit:
        """A fitted model that the check may change."""
        config, data = tiny
        return checks.Fit.of(config, data.train)

    def test_scores_are_those_of_pairs(self, fit: checks.Fit) -> None:
        checks.scores_are_those_of_pairs(fit)

    def test_forgetting_leaves_the_original_alone(self, fit: checks.Fit) -> None:
        checks.forgetting_leaves_the_original_alone(fit)

    def test_forgetting_is_a_refit(self, fit: checks.Fit) -> None:
        checks.forgetting_is_a_refit(fit)

    def test_fitting_again_is_equal(self, fit: checks.Fit) -> None:
        checks.fitting_again_is_equal(fit)

    def test_a_saved_model_scores_as_before(
        self, fit: checks.Fit, tiny: tuple[Config, UnlearningData], tmp_path: Path
    ) -> None:
        config, data = tiny
        save_model(str(tmp_path / "model.safetensors"), fit.forgotten, config, data.train)
        _, loaded, _ = load_model(str(tmp_path / "model.safetensors"))
        name = self.model.__name__
        assert isinstance(loaded, self.model), f"A saved {name} loads as {type(loaded).__name__}"
        assert torch.equal(scores(loaded), scores(fit.forgotten)), f"A saved {name} scores otherwise when it is loaded"
