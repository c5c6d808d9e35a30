"""What every fitted model must hold to."""

from pathlib import Path

from recbole_unlearn.check import exact as checks
from recbole_unlearn.config import Config
from recbole_unlearn.model import ExactRecommender
from recbole_unlearn.task import UnlearningData
from recbole_unlearn.testing.model import ModelContract
from recbole_unlearn.testing.runs import fixture


class ExactContract(ModelContract):
    """Checks of one fitted model. Subclass it as ``class TestMine(ExactContract): model = MyModel``."""

    model: type[ExactRecommender]

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
        self.scores_as_before_it_was_saved(fit.forgotten, tiny, tmp_path)
