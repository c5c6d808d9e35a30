"""Exact forgetting: change a fit to what it would be without the request."""

from collections.abc import Iterator
from typing import Any

from typing_extensions import Self

from recbole_unlearn.method.base import METHODS, Stage, Unlearner
from recbole_unlearn.model.exact import ExactRecommender


@METHODS.register
class Exact(Unlearner):
    """The state of a refit, computed from the present one and from what the request changes.

    The model's class knows how: by Woodbury's identity, by counting, by solving again what has changed. If its
    forgetting is not exact, a detail says how near it ends.

    Reference: for Gram matrices, Cauwenberghs and Poggio, "Incremental and Decremental Support Vector Machine
    Learning", NeurIPS 2000, and Schelter, "Amnesia: Machine Learning Models That Can Forget User Data Very Fast",
    CIDR 2020.
    """

    serves = (ExactRecommender,)
    original: ExactRecommender
    _copy: ExactRecommender | None = None

    def prepare(self) -> float:
        """Copy the state: it takes longer than many a change of it."""
        self._copy = self.original.copied()
        return 0.0

    def unlearn(self) -> Iterator[Stage]:
        model, self._copy = self._copy or self.original.copied(), None
        model.follow(self.data.remaining_graph)
        details = {} if model.exact else {"not exact": f"{model.deviation_of} at most {model.limit:g}"}
        yield Stage("", model, details=details)

    def continued(self, data: Any, model: Any) -> Self:
        following = super().continued(data, model)
        following.prepare()
        return following
