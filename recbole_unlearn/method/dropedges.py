"""The no-op: forget the edges in the graph only."""

from collections.abc import Iterator

from recbole_unlearn.method.base import METHODS, Stage, Unlearner
from recbole_unlearn.model.recommender import Recommender


@METHODS.register
class DropEdges(Unlearner):
    """The remaining graph with the old weights: the result that any method must beat to have unlearned anything.

    A forgotten edge shaped both the graph and the loss; this method only takes it out of the graph.

    Reference: UtU of Tan et al., "Unlink to Unlearn: Simplifying Edge Unlearning in GNNs", WWW 2024 (companion), is
    this method; as a no-op, section 2.3 of Chen et al., "Pre-training for Recommendation Unlearning", SIGIR 2025.
    """

    serves = (Recommender,)

    def unlearn(self) -> Iterator[Stage]:
        yield Stage("", self.original.on_graph(self.data.remaining_graph))
