"""What requests mean in the data: counts, what remains, and who loses the token."""

import numpy as np
import pytest
import torch

from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.requests.resolve import resolve
from recbole_unlearn.graph import Graph

TOKENS = {
    "user": np.array(["[PAD]", "ann", "bob", "cem", "dan", "eve"], dtype=object),
    "item": np.array(["[PAD]", "x", "y", "z"], dtype=object),
}
EDGES = {
    "train": [("ann", "x"), ("ann", "y"), ("bob", "x"), ("bob", "z"), ("cem", "y")],
    "valid": [("ann", "z"), ("bob", "y"), ("dan", "x")],
    "test": [("ann", "x"), ("cem", "x")],  # (ann, x) is also a training pair
}  # eve has an id, and no edge


def graph_of(pairs):
    columns = zip(TOKENS.values(), zip(*pairs))
    users, items = (torch.tensor([list(tokens).index(token) for token in column]) for tokens, column in columns)
    return Graph.from_edges(users, items, *map(len, TOKENS.values()))


GRAPHS = {part: graph_of(pairs) for part, pairs in EDGES.items()}


def request(*rows, name="r"):
    """A request for pairs of a user and an item, either of which may be None."""
    scopes = ["item" if user is None else "user" if item is None else "interaction" for user, item in rows]
    return DeletionRequest(name, [(scope, *row) for scope, row in zip(scopes, rows)])


def remaining(resolution):
    """Part to the pairs that remain, in tokens."""
    result = {}
    for part, graph in GRAPHS.items():
        kept = graph.subgraph(resolution.keep[part])
        result[part] = list(zip(TOKENS["user"][kept.users.numpy()], TOKENS["item"][kept.items.numpy()]))
    return result


def erased(resolution):
    return {side: list(TOKENS[side][mask]) for side, mask in resolution.erased.items()}


def edges_without(gone):
    return {part: [pair for pair in pairs if not gone(*pair)] for part, pairs in EDGES.items()}


NONE = (0, 0, 0)
CASES = {  # rows, the interactions of each in the parts (None: not found), and who loses the token
    "an interaction goes from all parts": ([("ann", "x")], [(1, 0, 1)], [], []),
    "a user with all edges": ([("bob", None)], [(2, 1, 0)], ["bob"], []),
    "an item, and whoever had no others": ([(None, "x")], [(2, 1, 2)], ["dan"], ["x"]),
    "who keeps an edge in any part keeps the token": ([("cem", "y")], [(1, 0, 0)], [], []),
    "the last two edges": ([("cem", "x"), ("cem", "y")], [(0, 0, 1), (1, 0, 0)], ["cem"], []),
    "a known user without edges": ([("eve", None)], [NONE], ["eve"], []),
    "all users that have edges take all items with them": (
        [("ann", None), ("bob", None), ("cem", None), ("dan", None)],
        [(2, 1, 1), (2, 1, 0), (1, 0, 1), (0, 1, 0)],
        ["ann", "bob", "cem", "dan"],
        ["x", "y", "z"],
    ),
    **{
        f"unknown {row}": ([row], [None], [], [])
        for row in [("zoe", "x"), ("ann", "w"), ("zoe", "w"), ("zoe", None), (None, "w"), ("[PAD]", None)]
    },
    **{f"in no part {row}": ([row], [None], [], []) for row in [(None, "[PAD]"), ("cem", "z"), ("eve", "x")]},
}


@pytest.mark.parametrize("case", CASES)
def test_what_rows_name_goes_and_nothing_else(case):
    rows, found, users, items = CASES[case]
    resolution = resolve([request(*rows)], TOKENS, GRAPHS)
    assert resolution.found == {"r": [each and dict(zip(EDGES, each)) for each in found]}
    assert remaining(resolution) == edges_without(
        lambda user, item: any(row in ((user, item), (user, None), (None, item)) for row in rows)
    )
    assert erased(resolution) == {"user": users, "item": items}
    assert resolution.is_empty() == (found == [None])


def test_requests_go_together():
    """Each is counted on its own; what goes, and who vanishes with it, is their union's."""
    first, second = request(("cem", "y"), ("zoe", "x"), name="a"), request(("cem", "x"), (None, "z"), name="b")
    requests = [first, second, request(("ann", "x"), name="c")]
    resolution = resolve(requests, TOKENS, GRAPHS)
    rows = {each.request_id: dict(zip(each.rows, resolution.found[each.request_id])) for each in requests}
    assert rows == {
        "a": {("interaction", "cem", "y"): {"train": 1, "valid": 0, "test": 0}, ("interaction", "zoe", "x"): None},
        "b": {
            ("interaction", "cem", "x"): {"train": 0, "valid": 0, "test": 1},
            ("item", None, "z"): {"train": 1, "valid": 1, "test": 0},
        },
        "c": {("interaction", "ann", "x"): {"train": 1, "valid": 0, "test": 1}},
    }
    gone = {("cem", "y"), ("cem", "x"), ("ann", "x")}
    assert remaining(resolution) == edges_without(lambda user, item: (user, item) in gone or item == "z")
    assert erased(resolution) == {"user": ["cem"], "item": ["z"]}


def test_two_requests_for_the_same_are_both_told_of_it():
    resolution = resolve([request(("bob", "x"), name="a"), request(("bob", None), name="b")], TOKENS, GRAPHS)
    assert resolution.found == {"a": [{"train": 1, "valid": 0, "test": 0}], "b": [{"train": 2, "valid": 1, "test": 0}]}


def test_the_order_of_requests_does_not_matter():
    requests = [request(("cem", "y"), name="a"), request((None, "x"), name="b"), request(("zoe", None), name="c")]
    first, second = (resolve(order, TOKENS, GRAPHS) for order in (requests, requests[::-1]))
    assert first.found == second.found and remaining(first) == remaining(second) and erased(first) == erased(second)


def test_no_requests_change_nothing():
    resolution = resolve([], TOKENS, GRAPHS)
    assert resolution.found == {} and resolution.is_empty() and remaining(resolution) == EDGES


def test_who_was_erased_before_is_unknown_now():
    """Also where nobody is left at all."""
    tokens = {**TOKENS, "user": np.array(["[PAD]", *[None] * 5], dtype=object)}
    nothing = {part: graph.without(graph.users, graph.items) for part, graph in GRAPHS.items()}
    resolution = resolve([request(("ann", None), ("ann", "x"))], tokens, nothing)
    assert resolution.found == {"r": [None, None]} and resolution.is_empty()
