"""Training from scratch on what remains: the ground truth."""

from collections.abc import Iterator

from recbole_unlearn.method.base import METHODS, Stage, Unlearner
from recbole_unlearn.trainer import train_backbone


@METHODS.register
class Retrain(Unlearner):
    """A fresh model with the original's settings and early stopping on the remaining interactions.

    Reference: exact unlearning in Bourtoule et al., "Machine Unlearning", S&P 2021.
    """

    def unlearn(self) -> Iterator[Stage]:
        trained = train_backbone(self.config, self.data.remaining, "retrain", self.data.valid_data)
        yield Stage("", trained.model, trained.seconds_before)
