#!/usr/bin/env bash
# PyG: LightGCN given each interaction once, as (user, item), propagates nothing at all and says nothing
#
# Expected: `LightGCN(...)(edge_index)` with the interactions as edges from users to items is LightGCN, or at worst
#           passes messages one way, so that items hear from users.
# Happens:  the normalisation counts only edges that arrive. Nothing arrives at a user, so a user's degree is 0, its
#           factor is 0, and the weight of every edge is 0: all layers above the first are zero and the result is the
#           embedding table divided by layers + 1, exactly. The loss falls and the ranking is that of plain matrix
#           factorisation. With both directions in edge_index it propagates. The class's documentation does not ask
#           for them; its example file has them.
# Versions: torch-geometric 2.8.1, torch 2.13.0
# Matters:  a "LightGCN" of one's own data is a matrix factorisation with the graph ignored, in all results.
#           Unlearning by deleting edges from such a graph changes no score at all: it looks done and is not.
# Output:   torch_geometric 2.8.1: one direction: largest distance to the table / 4: 0.0, and of scores after deleting
#           half of the edges
#           to those before: 0.0; both directions: 0.368 and 0.259
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 torch-geometric==2.8.1 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 "$work/venv/bin/python" -I -W ignore - <<'PY'
import torch
import torch_geometric
from torch_geometric.nn.models import LightGCN

torch.manual_seed(0)
interactions = torch.tensor([[0, 0, 1, 2, 2, 3], [4, 5, 5, 6, 4, 6]])
model = LightGCN(num_nodes=7, embedding_dim=4, num_layers=3)
pairs = torch.cartesian_prod(torch.arange(4), torch.arange(4, 7)).T


def both(edges: torch.Tensor) -> torch.Tensor:
    """The edges and their reverses."""
    return torch.cat([edges, edges.flip(0)], dim=1)


def measured(direct) -> tuple[float, float]:
    """How far the embeddings are from table / 4, and how far deleting every other edge moves the scores."""
    with torch.no_grad():
        from_table = (model.get_embedding(direct(interactions)) - model.embedding.weight / 4).abs().max()
        moved = (model(direct(interactions), pairs) - model(direct(interactions[:, ::2]), pairs)).abs().max()
    return round(float(from_table), 3), round(float(moved), 3)


one, two = measured(lambda edges: edges), measured(both)
print(f"torch_geometric {torch_geometric.__version__}, torch {torch.__version__}: largest distance to "
      "the table / 4, and of scores after "
      f"deleting half of the edges to those before: one direction {one}, both directions {two}")
assert one == (0.0, 0.0)
assert two[0] > 0.1 and two[1] > 0.01
with torch.no_grad():
    assert torch.equal(model.get_embedding(interactions), model.embedding.weight / 4)
PY
