"""Training from scratch on what remains: the ground truth."""

from collections.abc import Iterator

from recbole_unlearn.method.base import METHODS, Stage, Unlearner
from recbole_unlearn.settings import CountOrZero, Settings, setting
from recbole_unlearn.trainer import train_backbone


class RetrainSettings(Settings):
    """The noise floor"""

    unlearn_floor_runs: CountOrZero = setting(
        1, "Further trainings with other random streams, whose gaps are the floor."
    )


@METHODS.register
class Retrain(Unlearner):
    """A fresh model with the original's settings and early stopping on the remaining interactions.

    It trains several times (stages ``again``), each with random streams of its own. What two of these models differ by
    is the floor: no method can be told from Retrain below it.

    Reference: exact unlearning in Bourtoule et al., "Machine Unlearning", S&P 2021.
    """

    settings = RetrainSettings
    memoryless = True

    def unlearn(self) -> Iterator[Stage]:
        for number in range(1 + self.config["unlearn_floor_runs"]):
            trained = train_backbone(self.config, self.data.remaining, f"retrain-{number}", self.data.valid_data)
            stage = "" if number == 0 else "again" if number == 1 else f"again {number}"
            yield Stage(stage, trained.model, trained.seconds_before, continues=False)
