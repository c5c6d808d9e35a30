"""A method of one's own: forgotten pairs' rows become shorter.

run-unlearn run --import=examples/my_methods.py --model=LightGCN --dataset=ml-100k --unlearn_methods=all
"""

from collections.abc import Iterator

from recbole_unlearn.method import METHODS, Stage, Unlearner
from recbole_unlearn.settings import Settings, Share, setting


class ShrinkSettings(Settings):
    """How much"""

    unlearn_shrink_factor: Share = setting(0.5, "Factor of the rows' length.")


@METHODS.register
class Shrink(Unlearner):
    """The rows of the request's users and items become shorter, and nothing else changes (nobody's method)."""

    settings = ShrinkSettings

    def unlearn(self) -> Iterator[Stage]:
        ego = self.original.ego_embeddings().detach().clone()
        request, factor = self.data.request, self.config["unlearn_shrink_factor"]
        ego[request.users.unique()] *= factor
        ego[request.items.unique() + self.original.n_users] *= factor
        yield Stage("", self.revised(self.original, ego))
