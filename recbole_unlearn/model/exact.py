"""The contract of recommenders that are fitted, not trained by gradients, and that forget by changing the fit."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.utils import InputType
from typing_extensions import Self

from recbole_unlearn.gram import forgotten_edges
from recbole_unlearn.graph import Graph, dataset_graph
from recbole_unlearn.model.recommender import Recommender
from recbole_unlearn.settings import Settings, setting

State = dict[str, torch.Tensor]


class ExactSettings(Settings):
    """What serves a fitted model"""

    unlearn_methods: list[str] | str = setting(["Retrain", "Exact", "DropEdges"], "Methods, or `all` that can.")


class ExactRecommender(Recommender):
    """A RecBole general recommender whose state is a function of the graph, and which can follow a change of the graph.

    Implement :meth:`fit` and :meth:`forget`, which give the tensors of the state by name, :meth:`scores`, and
    :meth:`layout`, so that a damaged file is refused. Read settings in ``__init__`` after ``super().__init__``. A model
    whose :meth:`forget` ends near a refit, not at it, sets ``exact = False`` and overrides :meth:`deviation`, so that a
    receipt says how near.
    """

    trait = "fit that can follow a change of the graph"
    input_type = InputType.PAIRWISE
    gives_logits = False
    exact = True  # forget gives the state of a refit, up to rounding
    deviation_of = "largest difference to a refit"  # what deviation measures
    limit = 1e-9  # of the deviation

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.seed = config["seed"]
        self.set_graph(dataset_graph(dataset))

    def fit(self, graph: Graph) -> State:
        """The state of a model of this graph, from nothing but the graph, the settings and ``self.seed``.

        Args:
            graph: on the model's device.

        Returns:
            Name to tensor.
        """
        raise NotImplementedError

    def forget(self, gone: Graph, remaining: Graph) -> State:
        """The state that :meth:`fit` gives for the remaining graph, computed from :attr:`state` and ``self.graph``.

        It may overwrite the tensors of :attr:`state`.

        Args:
            gone: the edges that are forgotten, at least one.
            remaining: the others.
        """
        raise NotImplementedError

    def layout(self) -> dict[str, tuple[torch.dtype, tuple[int | None, ...]]]:
        """Name of each tensor of the state to its type and shape; None is any length."""
        raise NotImplementedError

    def deviation(self, items: torch.Tensor) -> float:
        """How far the state is from a refit's on the model's graph; at most ``limit`` after :meth:`forget`.

        By default the largest difference of any number in the state, from a refit.

        Args:
            items: a sample of items, shape ``(n,)``, for a model that can look at a part of its state.
        """
        refit = self.fit(self.graph)
        return max(float((self.state[name] - tensor).abs().max()) for name, tensor in refit.items())

    @property
    def state(self) -> State:
        """The tensors that the model is fitted to; empty before that."""
        return {name: tensor for name, tensor in self._buffers.items() if tensor is not None}

    def set_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over a state, on the model's device.

        Raises:
            ValueError: a tensor is missing, of another type or of another shape than :meth:`layout` says.
        """
        for name, (kind, shape) in self.layout().items():
            if name not in state:
                raise ValueError(f"it has no {name}")
            there = state[name]
            fits = len(there.shape) == len(shape) and all(n in (None, m) for n, m in zip(shape, there.shape))
            if there.dtype != kind or not fits:
                raise ValueError(f"its {name} is {there.dtype} of shape {tuple(there.shape)}, not {kind} of {shape}")
        self._buffers.clear()
        for name in self.layout():
            self.register_buffer(name, state[name].to(self.device))

    def set_graph(self, graph: Graph) -> None:
        """Make the model predict on this graph; the state stays."""
        self.graph = graph.to(self.device)

    def on_graph(self, graph: Graph) -> Self:
        model = copy.copy(self)
        model._buffers = dict(self._buffers)  # the same tensors
        model.set_graph(graph)
        return model.eval()

    def copied(self) -> Self:
        """A copy with tensors of its own."""
        model = self.on_graph(self.graph)
        model.set_state({name: tensor.clone() for name, tensor in self.state.items()})
        return model

    @torch.no_grad()
    def fitted(self, graph: Graph) -> Self:
        """A copy that is fitted to a graph."""
        model = self.on_graph(graph)
        model.set_state(model.fit(model.graph))
        return model

    @torch.no_grad()
    def follow(self, remaining: Graph) -> None:
        """Forget all edges that a subgraph of the model's graph lacks; the model itself changes."""
        remaining = remaining.to(self.device)
        gone = forgotten_edges(self.graph, remaining)
        if len(gone):
            self.set_state(self.forget(gone, remaining))
        self.set_graph(remaining)

    def forgotten(self, remaining: Graph) -> Self:
        """A copy that has forgotten all edges that a subgraph of its graph lacks; see :meth:`follow`."""
        model = self.copied()
        model.follow(remaining)
        return model

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Take over a state; see :meth:`set_state`. Its lengths need not be those of the state before."""
        self.set_state(state_dict)


class LinearRecommender(ExactRecommender):
    """Scores items by the user's interactions times a matrix of item-item weights: ``s_u = x_u' W``."""

    def weights(self, items: torch.Tensor) -> torch.Tensor:
        """Columns of ``W`` of some items, shape ``(n_items, n)``."""
        raise NotImplementedError

    def refitted_weights(self, items: torch.Tensor) -> torch.Tensor:
        """The same columns of a refit on the model's graph."""
        raise NotImplementedError

    @torch.no_grad()
    def deviation(self, items: torch.Tensor) -> float:
        """The largest difference of a weight in the columns of some items to a refit's."""
        return float((self.weights(items) - self.refitted_weights(items)).abs().max())
