"""The influence function of a network, over all of its weights, by conjugate gradient."""

from collections.abc import Iterator

import torch

from recbole_unlearn.errors import Diverged
from recbole_unlearn.method.base import METHODS, Stage, Unlearner
from recbole_unlearn.method.influence.curvature import Curvature
from recbole_unlearn.model.network import NetworkRecommender
from recbole_unlearn.settings import Count, Positive, Settings, Share, setting
from recbole_unlearn.solver import conjugate_gradient
from recbole_unlearn.streams import torch_stream


class InfluenceCGSettings(Settings):
    """The damped equations and their solver"""

    unlearn_cg_damping: Positive = setting(
        3.0, "Added to the diagonal of the Hessian of the mean loss.", "Ours, for MultiVAE: benchmarks/networks.md."
    )
    unlearn_cg_iterations: Count = setting(20, "Steps of conjugate gradient at most.", "Ours.")
    unlearn_cg_tolerance: Positive = setting(0.01, "Residual, relative to the right side, at which it stops.", "Ours.")
    unlearn_cg_share: Share = setting(1.0, "Share of the examples, drawn at random, that the Hessian is a mean of.")


@METHODS.register
class InfluenceCG(Unlearner):
    r"""The influence function of all weights of a network, with the request's effect on the input of what remains.

    L is the loss of a graph's examples without dropout, summed and divided by their number n before the request, and H
    its Hessian on the full graph. Conjugate gradient, which sees H only through products by automatic differentiation,
    solves

    .. math:: (H + \lambda I) \Delta = \nabla L(\theta; G) - \nabla L(\theta; G_r)

    and the weights become :math:`\theta + \Delta`. A user who loses interactions has another input and another target;
    the difference of the gradients has both. H is not definite: the solver stops before a direction of negative
    curvature, and its residual says how much of the equations is solved.

    Reference: Koh and Liang, "Understanding Black-box Predictions via Influence Functions", ICML 2017, by conjugate
    gradient and with damping; the difference of gradients as in Wu et al., "GIF", WWW 2023.
    """

    settings = InfluenceCGSettings
    serves = (NetworkRecommender,)

    def unlearn(self) -> Iterator[Stage]:
        config, original, remaining = self.config, self.original, self.data.remaining_graph
        examples = original.examples()
        curvature = Curvature(original, len(examples))
        v = curvature.gradient(examples)
        without = original.on_graph(remaining)
        v = v - Curvature(without, len(examples)).gradient(without.examples())
        sample = examples[self._drawn(len(examples))]
        change, steps, residual = conjugate_gradient(
            lambda x: curvature.product(sample, x) * (len(examples) / len(sample)) + config["unlearn_cg_damping"] * x,
            v,
            config["unlearn_cg_tolerance"],
            config["unlearn_cg_iterations"],
        )
        if not change.isfinite().all():
            raise Diverged("the estimate is not finite")
        model = original.revised(curvature.moved(change), remaining)
        yield Stage("", model, details={"iterations": steps, "residual": f"{residual:.2f}"})

    def _drawn(self, count):
        n_drawn = max(1, round(self.config["unlearn_cg_share"] * count))
        order = torch.randperm(count, generator=torch_stream(self.config["seed"], "examples of the Hessian"))
        return order[:n_drawn].to(self.original.device)
