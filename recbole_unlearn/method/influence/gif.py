"""GIF: the influence function by a truncated Neumann series."""

from typing import Any, Literal

import torch

from recbole_unlearn.method.base import METHODS
from recbole_unlearn.method.influence.base import InfluenceUnlearner
from recbole_unlearn.settings import Count, Positive, Settings, Weight, setting
from recbole_unlearn.solver import neumann, spectral_radius

MARGIN = 1.2  # ratio of the scale to the spectral radius


class GIFSettings(Settings):
    """The Neumann series"""

    unlearn_gif_iterations: Count = setting(100, "Steps of the Neumann series at most.", "Its released code.")
    unlearn_gif_damping: Weight = setting(0.0, "Subtracted from the identity in each step.", "Its released code.")
    unlearn_gif_scale: Positive | Literal["auto"] = setting(
        "auto",
        "Divides the Hessian; auto takes 1.2 times its largest eigenvalue in magnitude.",
        "Ours: its fixed scales diverge here.",
    )


@METHODS.register
class GIF(InfluenceUnlearner):
    """The influence function, with the changed graph's effect on other edges' loss, inverted by a Neumann series.

    The Hessian of BPR is indefinite, and the series ends before its residual rises. It inverts only directions of large
    curvature, so the model moves only a part of the way that retraining goes.

    Reference: Wu et al., "GIF: A General Graph Unlearning Strategy via Influence Function", WWW 2023.
    """

    settings = GIFSettings

    def linearise(self) -> None:
        super().linearise()
        scale = self.config["unlearn_gif_scale"]
        self.scale = MARGIN * spectral_radius(self.hessian, self.point) if scale == "auto" else float(scale)

    def solve(self, v: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        damping, iterations = self.config["unlearn_gif_damping"], self.config["unlearn_gif_iterations"]
        estimate, steps, residual = neumann(self.hessian, v, self.scale, damping, iterations)
        return estimate, {"iterations": steps, "residual": f"{residual:.2f}", "scale": f"{self.scale:.3g}"}
