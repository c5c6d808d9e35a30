"""Groups of users."""

import numpy as np
import pytest
import torch

from recbole_unlearn.evaluator.groups import group_changes, user_groups
from recbole_unlearn.graph import Graph


def test_groups_by_the_request_and_by_activity():
    rows = [(1, 1), (1, 2), (2, 2), (3, 3), (3, 4), (3, 5), (4, 3)]  # user 5 has no edge
    graph = Graph.from_edges(*map(torch.tensor, zip(*rows)), n_users=6, n_items=6)
    groups = user_groups(graph, torch.tensor([1]), torch.tensor([2]))
    ids = {name: np.flatnonzero(members).tolist() for name, members in groups.items()}
    assert ids == {
        "requesters": [1],
        "neighbours": [2],
        "others": [3, 4, 5],
        "active": [1, 3],
        "inactive": [2, 4, 5],
    }
    changes = group_changes(np.array([0.1, 0.3, 0.5]), np.array([1, 3, 4]), groups)
    assert changes["requesters"]["mean"] == pytest.approx(0.1) and np.isnan(changes["requesters"]["se"])
    assert changes["others"] == pytest.approx({"n": 2, "mean": 0.4, "se": 0.1})
    assert changes["neighbours"]["n"] == 0 and np.isnan(changes["neighbours"]["mean"])
