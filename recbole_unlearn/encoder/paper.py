"""The influence encoder: from a request's graph to a revised table (paper, section 3.2)."""

from typing import Any

import torch
from torch import nn

from recbole_unlearn.loss import unlearning_loss
from recbole_unlearn.propagation import propagate
from recbole_unlearn.settings import Count, Settings, Weight, setting

INITIAL_SCALE = 1e-3  # of H(0) and w: near 0, but with a direction for the contrast loss to compare


class PaperEncoderSettings(Settings):
    """negative: the paper's encoder"""

    ie_n_layers: Count = setting(3, "Layers of the propagation over the request's graph.")
    ie_rho: Weight = setting(0.1, "Weight of the propagated final embeddings in the shift (Eq. 17).")


class InfluenceEncoder(nn.Module):
    r"""Maps a request to the change of the 0-layer table that forgetting it should cause.

    With :math:`\hat A_f` the request's normalised adjacency and :math:`Z` the original final embeddings:

    .. math::
        H^{(l+1)} &= \hat A_f H^{(l)}, \quad H = \sum_{l=0}^{L} H^{(l)} \qquad \text{(Eq. 15)} \\
        W^{(0)} &= w \odot Z, \quad W = \hat A_f^L W^{(0)} \qquad \text{(Eq. 16)} \\
        \Delta E &= H - \rho W, \quad E_0' = E_0 + \mathrm{MLP}(\Delta E) \qquad \text{(Eq. 17-18)}

    Rows of nodes that the request does not touch stay as they are. Pre-training trains ``influence`` (:math:`H^{(0)}`)
    and ``weight`` (:math:`w`); fine-tuning trains ``ego`` (:math:`E_0`) and ``mlp``, which starts close to the identity
    (identity weights, biases 0, negative values times .99).

    Args:
        ego: trained 0-layer table, shape ``(N, d)``.
        final: final embeddings of the original model, shape ``(N, d)``; never trained.
        n_layers: L, layers of both propagations.
        rho: weight of :math:`W`.
    """

    final: torch.Tensor

    def __init__(self, ego: torch.Tensor, final: torch.Tensor, n_layers: int, rho: float) -> None:
        super().__init__()
        n_nodes, dimension = ego.shape
        self.n_layers, self.rho = n_layers, rho
        self.register_buffer("final", final.detach().clone())
        self.ego = nn.Parameter(ego.detach().clone(), requires_grad=False)
        self.influence = nn.Parameter(torch.randn(n_nodes, dimension, device=ego.device) * INITIAL_SCALE)
        self.weight = nn.Parameter(torch.randn(n_nodes, 1, device=ego.device) * INITIAL_SCALE)
        first, second = nn.Linear(dimension, dimension), nn.Linear(dimension, dimension)
        self.mlp = nn.Sequential(first, nn.LeakyReLU(0.99), second).to(ego.device)
        for layer in (first, second):
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.mlp.requires_grad_(False)

    def start_finetuning(self) -> None:
        """Train ``ego`` and ``mlp`` from now on, and no longer ``influence`` and ``weight``."""
        for parameter, trains in ((self.influence, False), (self.weight, False), (self.ego, True)):
            parameter.requires_grad_(trains)
        self.mlp.requires_grad_(True)

    def unlearning_loss(self, scores: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """``L_U`` (Eq. 20) for scores of the forgotten pairs at positions ``drawn``, shape ``(B,)`` each."""
        return unlearning_loss(scores)

    def propagated_influence(self, forget_adjacency: torch.Tensor) -> torch.Tensor:
        """``H`` of Eq. 15 for all nodes, shape ``(N, d)``."""
        layer: torch.Tensor = self.influence
        total = layer
        for _ in range(self.n_layers):
            layer = propagate(forget_adjacency, layer)
            total = total + layer
        return total

    def shift(self, influence: torch.Tensor, forget_adjacency: torch.Tensor) -> torch.Tensor:
        """``dE`` of Eq. 17 from ``H``, for all nodes, touched or not, shape ``(N, d)``."""
        weighted = self.weight * self.final
        for _ in range(self.n_layers):
            weighted = propagate(forget_adjacency, weighted)
        return influence - self.rho * weighted

    def revise(self, shift: torch.Tensor, touched: torch.Tensor) -> torch.Tensor:
        """The revised table ``E0'``, shape ``(N, d)``.

        Args:
            shift: ``dE``, shape ``(N, d)``.
            touched: nodes of the request, boolean, shape ``(N,)``.
        """
        return self.ego + self.mlp(shift) * touched[:, None]

    def forward(self, task: Any) -> torch.Tensor:
        """One zero-shot pass: ``E0'`` of an :class:`~recbole_unlearn.trainer.UnlearningTask`, shape ``(N, d)``."""
        influence = self.propagated_influence(task.forget_adjacency)
        return self.revise(self.shift(influence, task.forget_adjacency), task.touched)
