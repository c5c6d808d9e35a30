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


def test_an_interaction_goes_from_all_parts():
    resolution = resolve([request(("ann", "x"))], TOKENS, GRAPHS)
    assert resolution.found == {"r": [{"train": 1, "valid": 0, "test": 1}]}
    assert remaining(resolution) == edges_without(lambda user, item: (user, item) == ("ann", "x"))
    assert erased(resolution) == {"user": [], "item": []} and not resolution.is_empty()


def test_a_user_goes_with_all_edges_and_the_token():
    resolution = resolve([request(("bob", None))], TOKENS, GRAPHS)
    assert resolution.found == {"r": [{"train": 2, "valid": 1, "test": 0}]}
    assert remaining(resolution) == edges_without(lambda user, item: user == "bob")
    assert erased(resolution) == {"user": ["bob"], "item": []}


def test_an_item_goes_with_all_edges_and_whoever_had_no_others():
    resolution = resolve([request((None, "x"))], TOKENS, GRAPHS)
    assert resolution.found == {"r": [{"train": 2, "valid": 1, "test": 2}]}
    assert remaining(resolution) == edges_without(lambda user, item: item == "x")
    assert erased(resolution) == {"user": ["dan"], "item": ["x"]}


def test_who_keeps_an_edge_in_any_part_keeps_the_token():
    resolution = resolve([request(("cem", "y"))], TOKENS, GRAPHS)  # the last training edge; one of test remains
    assert erased(resolution) == {"user": [], "item": []}
    resolution = resolve([request(("cem", "y"), ("cem", "x"))], TOKENS, GRAPHS)
    assert erased(resolution) == {"user": ["cem"], "item": []}


@pytest.mark.parametrize(
    "row", [("zoe", "x"), ("ann", "w"), ("zoe", "w"), ("zoe", None), (None, "w"), ("[PAD]", None), (None, "[PAD]")]
)
def test_unknown_tokens_change_nothing(row):
    resolution = resolve([request(row)], TOKENS, GRAPHS)
    assert resolution.found == {"r": [None]} and resolution.is_empty()
    assert remaining(resolution) == EDGES


@pytest.mark.parametrize("pair", [("cem", "z"), ("eve", "x")])
def test_a_pair_of_known_tokens_in_no_part_changes_nothing(pair):
    resolution = resolve([request(pair)], TOKENS, GRAPHS)
    assert resolution.found == {"r": [None]} and resolution.is_empty()
    assert remaining(resolution) == EDGES and erased(resolution) == {"user": [], "item": []}


def test_a_known_user_without_edges_still_loses_the_token():
    resolution = resolve([request(("eve", None))], TOKENS, GRAPHS)
    assert resolution.found == {"r": [{"train": 0, "valid": 0, "test": 0}]}
    assert erased(resolution) == {"user": ["eve"], "item": []} and not resolution.is_empty()
    assert remaining(resolution) == EDGES


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


def test_all_users_that_have_edges_take_all_items_with_them():
    everything = resolve([request(*((user, None) for user in ("ann", "bob", "cem", "dan")))], TOKENS, GRAPHS)
    assert not any(mask.any() for mask in everything.keep.values()) and not everything.is_empty()
    assert erased(everything) == {"user": ["ann", "bob", "cem", "dan"], "item": ["x", "y", "z"]}
