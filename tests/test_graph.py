"""The graph against dense float64 references."""

import dense
import numpy as np
import pytest
import torch

from recbole_unlearn import graph as graph_module
from recbole_unlearn.graph import Graph, dataset_graph
from recbole_unlearn.propagation import COLUMNS, mean_propagation, propagate
from recbole_unlearn.task import prepare_data

N_USERS, N_ITEMS = 9, 7
N_NODES = N_USERS + N_ITEMS


def random_pairs(n_pairs, seed=0):
    """Pairs with repetitions; the first user and the first item never occur."""
    generator = torch.Generator().manual_seed(seed)
    users = torch.randint(1, N_USERS, (n_pairs,), generator=generator)
    items = torch.randint(1, N_ITEMS, (n_pairs,), generator=generator)
    return users, items


def random_graph(n_pairs=40, seed=0):
    return Graph.from_edges(*random_pairs(n_pairs, seed), N_USERS, N_ITEMS)


def empty_graph():
    none = torch.empty(0, dtype=torch.long)
    return Graph.from_edges(none, none, N_USERS, N_ITEMS)


def table(seed=0):
    return torch.randn(N_NODES, 4, generator=torch.Generator().manual_seed(seed))


def assert_same_graph(first, second):
    for name in ("users", "items"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    assert torch.equal(first.item_order(), second.item_order())
    assert torch.equal(first.adjacency.to_dense(), second.adjacency.to_dense())


def test_adjacency_is_the_normalised_one():
    graph = random_graph()
    np.testing.assert_allclose(graph.adjacency.to_dense(), dense.graph_adjacency(graph), atol=1e-6)


def test_adjacency_is_a_valid_sparse_matrix():
    with torch.sparse.check_sparse_tensor_invariants():
        a = random_graph().adjacency
        torch.sparse_csr_tensor(a.crow_indices(), a.col_indices(), a.values(), size=a.shape)


def test_duplicates_collapse():
    users, items = random_pairs(40)
    pairs = set(zip(users.tolist(), items.tolist()))
    assert len(pairs) < 40
    graph = Graph.from_edges(users, items, N_USERS, N_ITEMS)
    assert list(zip(graph.users.tolist(), graph.items.tolist())) == sorted(pairs)


def test_nodes_without_edges_have_zero_rows_and_columns():
    adjacency = random_graph().adjacency.to_dense()
    for node in (0, N_USERS):
        assert not adjacency[node].any() and not adjacency[:, node].any()


def test_degrees_count_edges():
    graph = random_graph()
    matrix = dense.graph_adjacency(graph)
    assert graph.degrees().tolist() == (matrix > 0).sum(axis=1).tolist()


def test_without_equals_rebuilding():
    graph = random_graph()
    gone = torch.arange(len(graph)) % 3 == 0
    rebuilt = Graph.from_edges(graph.users[~gone], graph.items[~gone], N_USERS, N_ITEMS)
    assert_same_graph(graph.without(graph.users[gone], graph.items[gone]), rebuilt)
    assert_same_graph(graph.subgraph(~gone), rebuilt)


def test_subgraph_of_a_subgraph_equals_rebuilding():
    graph = random_graph()
    smaller = graph.subgraph(torch.arange(len(graph)) % 2 == 0)
    smallest = smaller.subgraph(torch.arange(len(smaller)) % 3 > 0)
    assert_same_graph(smallest, Graph.from_edges(smallest.users, smallest.items, N_USERS, N_ITEMS))


def test_without_ignores_order_repetitions_and_pairs_that_are_no_edges():
    graph = random_graph()
    no_edge = torch.tensor([0]), torch.tensor([0])
    users = torch.cat([graph.users[[5, 2, 5]], no_edge[0]])
    items = torch.cat([graph.items[[5, 2, 5]], no_edge[1]])
    keep = torch.ones(len(graph), dtype=torch.bool)
    keep[[2, 5]] = False
    assert_same_graph(graph.without(users, items), graph.subgraph(keep))


def test_without_everything_is_the_empty_graph():
    graph = random_graph()
    assert_same_graph(graph.without(graph.users, graph.items), empty_graph())


def test_contains_is_exact_for_every_pair():
    graph = random_graph(20)
    edges = set(zip(graph.users.tolist(), graph.items.tolist()))
    users, items = torch.cartesian_prod(torch.arange(N_USERS), torch.arange(N_ITEMS)).t()
    expected = [pair in edges for pair in zip(users.tolist(), items.tolist())]
    assert graph.contains(users, items).tolist() == expected


def test_empty_graph():
    graph = empty_graph()
    assert len(graph) == 0
    assert not graph.contains(*random_pairs(5)).any()
    assert len(graph.without(*random_pairs(5))) == 0
    assert not graph.degrees().any()
    assert not propagate(graph.adjacency, table()).any()
    torch.testing.assert_close(mean_propagation([graph.adjacency] * 3, table()), table() / 4)


@pytest.mark.parametrize("few", [0, 10**9])
def test_pairs_are_found_alike_by_bisection_and_by_a_pass(monkeypatch, few):
    """Ids so large that a pair's number does not fit into 32 bits."""
    rng = np.random.default_rng(0)
    ends = rng.integers(0, [[60_000], [90_000]], size=(2, 5_000))
    ends[0, :3_000] = 59_999  # one user with many items
    n_users, n_items = 60_000, 90_000
    graph = Graph.from_edges(*torch.from_numpy(ends), n_users, n_items)
    edges = sorted({(int(user), int(item)) for user, item in ends.T})
    assert list(zip(graph.users.tolist(), graph.items.tolist())) == edges
    asked = np.concatenate([ends[:, ::7], rng.integers(0, [[n_users], [n_items]], size=(2, 300))], axis=1)
    asked = np.concatenate([asked, [[0, n_users - 1, 59_999], [0, n_items - 1, 0]]], axis=1)
    monkeypatch.setattr(graph_module, "FEW", few)
    positions, found = graph.find(*torch.from_numpy(asked))
    places = {edge: place for place, edge in enumerate(edges)}
    for (user, item), position, there in zip(asked.T.tolist(), positions.tolist(), found.tolist()):
        assert there == ((user, item) in places)
        assert not there or position == places[user, item]


def test_the_graph_of_unchanged_interactions_is_made_once(configure):
    data = prepare_data(configure("BPR"))
    assert dataset_graph(data.train) is data.graph is dataset_graph(data.train.copy(data.train.inter_feat))
    users = data.train.inter_feat[data.train.uid_field]
    before = users.clone()
    users[0] = users[-1]
    changed = dataset_graph(data.train)
    assert changed is not data.graph and not torch.equal(changed.users, data.graph.users)
    users.copy_(before)
    assert_same_graph(dataset_graph(data.train), data.graph)


def test_propagate_and_its_gradient():
    graph, x, upstream = random_graph(), table().requires_grad_(), table(1)
    result = propagate(graph.adjacency, x)
    result.backward(upstream)
    matrix = dense.graph_adjacency(graph)
    np.testing.assert_allclose(result.detach(), matrix @ x.detach().double().numpy(), atol=1e-6)
    np.testing.assert_allclose(x.grad, matrix.T @ upstream.double().numpy(), atol=1e-6)


@pytest.mark.parametrize("seeds", [(), (0,), (0, 0, 0), (0, 1, 2)], ids=["none", "one", "same", "different"])
def test_mean_propagation_and_its_gradient(seeds):
    graphs = [random_graph(seed=seed) for seed in seeds]
    x, upstream = table().requires_grad_(), table(1)
    result = mean_propagation([graph.adjacency for graph in graphs], x)
    result.backward(upstream)

    matrices = [dense.graph_adjacency(graph) for graph in graphs]
    product, operator = np.eye(N_NODES), np.eye(N_NODES)
    for matrix in matrices:
        product = matrix @ product
        operator = operator + product
    operator /= len(seeds) + 1
    np.testing.assert_allclose(result.detach(), operator @ x.detach().double().numpy(), atol=1e-6)
    np.testing.assert_allclose(x.grad, operator.T @ upstream.double().numpy(), atol=1e-6)


@pytest.mark.parametrize("width", [1, COLUMNS, COLUMNS + 1, 3 * COLUMNS])
@pytest.mark.parametrize(
    "function", [lambda layers, x: propagate(layers[0], x), mean_propagation], ids=["one layer", "mean of layers"]
)
def test_a_wide_table_is_propagated_as_its_columns_are(function, width):
    layers, generator = [random_graph(seed=seed).adjacency for seed in range(2)], torch.Generator().manual_seed(0)
    x, upstream = torch.randn(2, N_NODES, width, generator=generator)
    x.requires_grad_()
    result = function(layers, x)
    result.backward(upstream.t().contiguous().t())  # and in another memory layout
    for column in range(width):
        alone = x.detach()[:, [column]].requires_grad_()
        expected = function(layers, alone)
        expected.backward(upstream[:, [column]])
        np.testing.assert_allclose(result.detach()[:, [column]], expected.detach(), atol=1e-6)
        np.testing.assert_allclose(x.grad[:, [column]], alone.grad, atol=1e-6)


def test_mean_propagation_leaves_its_arguments_alone():
    graph, x = random_graph(), table()
    mean_propagation([graph.adjacency] * 2, x)
    assert torch.equal(x, table())


def test_graph_on_its_own_device_is_itself():
    graph = random_graph()
    assert graph.to("cpu") is graph


def test_propagations_are_twice_differentiable():
    layers = [random_graph(seed=seed).adjacency.double() for seed in range(3)]
    x = table().double().requires_grad_()
    for function in (lambda x: propagate(layers[0], x.tanh()), lambda x: mean_propagation(layers, x.tanh())):
        assert torch.autograd.gradcheck(function, x) and torch.autograd.gradgradcheck(function, x)


def test_a_matrix_of_another_layout_propagates_alike():
    adjacency, x = random_graph().adjacency, table()
    torch.testing.assert_close(propagate(adjacency.to_sparse_coo(), x), propagate(adjacency, x))
    torch.testing.assert_close(
        mean_propagation([adjacency.to_sparse_coo()] * 2, x), mean_propagation([adjacency] * 2, x)
    )
