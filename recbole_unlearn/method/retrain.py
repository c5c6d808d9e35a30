"""Training from scratch on what remains: the ground truth."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from recbole_unlearn.method.base import METHODS, Stage, Unlearner
from recbole_unlearn.model.recommender import MODELS, Recommender
from recbole_unlearn.parallel import device_of, meanwhile, with_threads
from recbole_unlearn.settings import CountOrZero, Settings, setting
from recbole_unlearn.trainer import Trained, train_backbone


class RetrainSettings(Settings):
    """The noise floor"""

    unlearn_floor_runs: CountOrZero = setting(
        1, "Further trainings with other random streams, whose gaps are the floor."
    )


@METHODS.register
class Retrain(Unlearner):
    """A fresh model with the original's settings and early stopping on the remaining interactions, or a fit to them.

    It trains several times (stages ``again``), each with random streams of its own. What two of these models differ by
    is the floor: no method can be told from Retrain below it. ``unlearn_workers`` of them train at a time.

    Reference: exact unlearning in Bourtoule et al., "Machine Unlearning", S&P 2021.
    """

    settings = RetrainSettings
    serves = (Recommender,)
    memoryless = True

    def unlearn(self) -> Iterator[Stage]:
        data = self.data
        names = [f"retrain-{number}" for number in range(1 + self.config["unlearn_floor_runs"])]
        with self._beside(names[1:]) as there:
            for number, name in enumerate(names):
                if name in there:
                    trained = self._fetched(there[name])
                else:
                    trained = train_backbone(self.config, data.remaining, name, data.valid_data)  # waits for another's
                stage = "" if number == 0 else "again" if number == 1 else f"again {number}"
                memory = trained.peak_memory_mb
                yield Stage(stage, trained.model, trained.seconds_before, continues=False, peak_memory_mb=memory)

    @contextmanager
    def _beside(self, names):
        """Train others meanwhile. Yields those on a cluster by name; this machine's leave files to load."""
        config, workers = self.config, self.config["unlearn_workers"] or 1
        jobs = [
            (type(self.original), self._on_device(number, workers), self.data.remaining, name, self.data.valid_data)
            for number, name in enumerate(names, 1)
        ]
        if type(self.original).__module__ == "__main__":  # another process would not find its source: other code
            jobs = []
        if config["ray_address"] and config["nproc"] == 1 and jobs:
            from recbole_unlearn.cluster import Cluster, default_resources  # ray takes seconds to import

            threads = torch.get_num_threads()
            with Cluster(config["ray_address"], default_resources(config["device"], threads)) as cluster:
                yield {name: cluster.submit(with_threads, threads, _train, *job) for name, job in zip(names, jobs)}
        else:
            with meanwhile(_train, jobs, workers - 1):
                yield {}

    def _fetched(self, task):
        """A training on a cluster, as one of this process."""
        from recbole_unlearn.cluster import result

        state, seconds, peak_memory_mb = result(task)
        model = type(self.original)(self.config, self.data.remaining)
        model.load_state_dict(state)
        return Trained(model.to(self.config["device"]).eval(), seconds, seconds, peak_memory_mb)

    def _on_device(self, job, workers):
        return self.config.replace(device=device_of(self.config["device"], job, workers))


def _train(model_class, config, remaining, name, valid_data):
    """Train a model in another process; returns its state on the CPU, its seconds and its peak of memory."""
    MODELS.register(model_class)  # a fresh process does not know a user's own model
    trained = train_backbone(config, remaining, name, valid_data, verbose=False)
    state = {key: value.cpu() for key, value in trained.model.state_dict().items()}
    return state, trained.seconds, trained.peak_memory_mb
