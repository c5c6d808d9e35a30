"""Fine-tuning: train on what remains from where the original is."""

from collections.abc import Iterator

from recbole_unlearn.method.base import METHODS, Stage, Unlearner
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.model.network import NetworkRecommender
from recbole_unlearn.settings import Count, Positive, Settings, setting
from recbole_unlearn.trainer import ResumableTrainer, loader_of


class FineTuneSettings(Settings):
    """The further training"""

    unlearn_tune_epochs: Count = setting(10, "Epochs on what remains.", "Ours, for MultiVAE: benchmarks/networks.md.")
    unlearn_tune_learning_rate: Positive | None = setting(None, "Learning rate; empty takes the training's.")


@METHODS.register
class FineTune(Unlearner):
    """The original's weights as the start of a short training on what remains, with a new optimiser.

    Nothing pushes the forgotten interactions out: they fade as the rest is learnt again.

    Reference: as a baseline, Golatkar, Achille and Soatto, "Eternal Sunshine of the Spotless Net: Selective Forgetting
    in Deep Networks", CVPR 2020.
    """

    settings = FineTuneSettings
    serves = (UnlearnableRecommender, NetworkRecommender)

    def unlearn(self) -> Iterator[Stage]:
        data, rate = self.data, self.config["unlearn_tune_learning_rate"] or self.config["learning_rate"]
        config = self.config.stream("fine-tuning").replace(
            epochs=self.config["unlearn_tune_epochs"], learning_rate=rate, nproc=1
        )
        if isinstance(self.original, NetworkRecommender):
            model = self.original.on_graph(data.remaining_graph)
        else:
            model = self.revised(self.original, self.original.ego_embeddings().detach())
        if len(data.remaining_graph) and len(data.request):
            loader = loader_of(config, model, data.remaining, data.remaining_graph)
            ResumableTrainer(config, model, "finetuning").fit(loader, saved=False, verbose=False)
        yield Stage("", model.eval())
