"""Training from scratch on what remains: the ground truth."""

from collections.abc import Iterator

from recbole_unlearn.method.base import METHODS, Stage, Unlearner
from recbole_unlearn.model.base import MODELS
from recbole_unlearn.parallel import device_of, meanwhile
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
    is the floor: no method can be told from Retrain below it. ``unlearn_workers`` of them train at a time.

    Reference: exact unlearning in Bourtoule et al., "Machine Unlearning", S&P 2021.
    """

    settings = RetrainSettings
    memoryless = True

    def unlearn(self) -> Iterator[Stage]:
        data, workers = self.data, self.config["unlearn_workers"] or 1
        names = [f"retrain-{number}" for number in range(1 + self.config["unlearn_floor_runs"])]
        others = [
            (type(self.original), self._on_device(number, workers), data.remaining, name, data.valid_data)
            for number, name in enumerate(names[1:], 1)
        ]
        known = type(self.original).__module__ != "__main__"  # another process would not find its source: other code
        with meanwhile(_train, others if known else [], workers - 1):
            for number, name in enumerate(names):
                trained = train_backbone(self.config, data.remaining, name, data.valid_data)  # waits for another's
                stage = "" if number == 0 else "again" if number == 1 else f"again {number}"
                memory = trained.peak_memory_mb
                yield Stage(stage, trained.model, trained.seconds_before, continues=False, peak_memory_mb=memory)

    def _on_device(self, job, workers):
        return self.config.replace(device=device_of(self.config["device"], job, workers))


def _train(model_class, config, remaining, name, valid_data):
    MODELS.register(model_class)  # a fresh process does not know a user's own model
    train_backbone(config, remaining, name, valid_data, verbose=False)
