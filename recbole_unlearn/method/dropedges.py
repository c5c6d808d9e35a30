"""The no-op: forget the edges in the graph only."""

from recbole_unlearn.method.base import METHODS, Unlearner


@METHODS.register
class DropEdges(Unlearner):
    """The remaining graph with the old table: what any method must beat to have unlearned anything.

    Reference: the lower bound of Wu et al., "GIF: A General Graph Unlearning Strategy via Influence Function",
    WWW 2023, where deletion changes the graph and no parameter.
    """

    def unlearn(self):
        yield "", self.original.revised(self.original.ego_embeddings(), self.data.remaining_graph), 0.0
