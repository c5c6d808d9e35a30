"""CEU: a Newton step from a model trained with a random linear term."""

from typing import Any

import torch

from recbole_unlearn.method.base import METHODS
from recbole_unlearn.method.influence.base import InfluenceUnlearner
from recbole_unlearn.method.influence.point import packed
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.settings import Count, Positive, Settings, Weight, setting
from recbole_unlearn.streams import begin_stream, torch_stream
from recbole_unlearn.trainer import train


class CEUSettings(Settings):
    """The noise, and the Newton step"""

    unlearn_ceu_lambda: Weight = setting(
        0.1, "Weight of the squared norm in the original's loss, summed over edges.", "Ours, see sigma."
    )
    unlearn_ceu_sigma: Weight = setting(
        0.01,
        "Standard deviation of the noise in that loss.",
        "Ours: the paper's .1 (lambda .01) costs a tenth of NDCG.",
    )
    unlearn_ceu_damping: Weight = setting(
        0.3, "Added to the Hessian's diagonal besides lambda.", "Ours, as IFRU's: without it H is indefinite."
    )
    unlearn_ceu_iterations: Count = setting(100, "Steps of conjugate gradient at most.", "Ours.")
    unlearn_ceu_tolerance: Positive = setting(
        0.01, "Residual, relative to the right-hand side, at which to stop.", "Ours."
    )


@METHODS.register
class CEU(InfluenceUnlearner):
    r"""One Newton step, from an original of its own that trains with noise in the loss.

    That original minimises :math:`L + \frac{\lambda}{2} |E|^2 + b \cdot E` with b from :math:`N(0, \sigma^2)`, so that
    the noise hides the step's remaining error. The paper certifies this for strictly convex losses. Here nothing is
    certified: BPR is not convex, and the default noise is far weaker than the paper's, which costs much of the ranking.
    The report gives the norm of the residual instead. MI-BF compares with the run's original, not with CEU's, so a part
    of it comes from the different model and not from unlearning.

    Reference: Wu et al., "Certified Edge Unlearning for Graph Neural Networks", KDD 2023.
    """

    settings = CEUSettings

    def trained_model(self) -> tuple[UnlearnableRecommender, float]:
        config, data = self.config, self.data
        strength, noise = config["unlearn_ceu_lambda"], config["unlearn_ceu_sigma"]
        begin_stream(config, "weights")
        model = perturbed(type(self.original))(config, data.train)
        generator = torch_stream(config["seed"], "noise")
        shape = packed(model.ego_embeddings(), model.named_weights().values()).shape
        model.perturb(strength, noise * torch.randn(shape, generator=generator).to(config["device"]), len(data.graph))
        trained = train(config, model, data.train, "CEU-original", data.valid_data, content=[strength, noise])
        with torch.no_grad():
            return (
                self.original.revised(trained.model.ego_embeddings(), data.graph, trained.model.named_weights()),
                trained.seconds_before,
            )

    def solve(self, v: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        damping = self.config["unlearn_ceu_lambda"] + self.config["unlearn_ceu_damping"]
        return self.damped_step(v, damping, "unlearn_ceu")


def perturbed(model_class: type) -> type:
    """The backbone's class, with ``lambda / 2 |E|^2 + b . E`` in the loss over all edges together."""

    class Perturbed(model_class):
        def perturb(self, strength, noise, n_edges):
            """Set lambda, b (the shape of a point) and the number of edges that share the term."""
            self.strength, self.noise, self.n_edges = strength, noise, n_edges

        def model_loss(self, interaction, ego, final, views):
            point = packed(ego, self.named_weights().values())
            extra = self.strength / 2 * point.square().sum() + (self.noise * point).sum()
            return super().model_loss(interaction, ego, final, views) + extra / self.n_edges

    return Perturbed
