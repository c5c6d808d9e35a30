"""Gradients and Hessian-vector products of frozen losses against autograd on dense float64 losses, and the solvers."""

from dataclasses import replace

import dense
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction

from recbole_unlearn.errors import Diverged, NoResult
from recbole_unlearn.method import METHODS
from recbole_unlearn.method.influence.ceu import perturbed
from recbole_unlearn.method.influence.frozen_loss import Triples, bpr_sum
from recbole_unlearn.model import MODELS
from recbole_unlearn.solver import conjugate_gradient, neumann, spectral_radius

BACKBONES = ["BPR", "LightGCN", "SGL", "SimGCL"]


def random_triples(n_edges=30, n_users=6, n_items=5):
    generator = torch.Generator().manual_seed(0)
    draw = [torch.randint(1, n, (n_edges,), generator=generator) for n in (n_users, n_items, n_items)]
    return Triples(*draw, n_users, n_items)  # with repetitions, and some negatives that are edges of others


def random_table(n_nodes, seed=0, dimension=4):
    return torch.randn(n_nodes, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def test_triples_matrix_and_differences():
    triples, left, right = random_triples(), random_table(11), random_table(11, seed=1)
    values = torch.randn(30, dtype=torch.double)
    matrix, differences = np.zeros((11, 11)), []
    for value, user, item, negative in zip(
        values.tolist(), *(side.tolist() for side in (triples.users, triples.items, triples.negatives))
    ):
        for node, sign in ((item + 6, 1), (negative + 6, -1)):
            matrix[user, node] += sign * value
            matrix[node, user] += sign * value
        differences.append(float(left[user] @ (right[item + 6] - right[negative + 6])))
    np.testing.assert_allclose(triples.matrix(values).to_dense(), matrix, atol=1e-12)
    np.testing.assert_allclose(triples.differences(left, right), differences, atol=1e-12)


def test_bpr_sum_is_twice_differentiable():
    triples, final = random_triples(), random_table(11).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: bpr_sum(z, triples), final)
    assert torch.autograd.gradgradcheck(lambda z: bpr_sum(z, triples), final)


class Case:
    """A backbone in float64 with two frozen losses, and the same losses written densely."""

    def __init__(self, run, method="GIF"):
        self.run = run
        method = METHODS[method](run.config, run.data, run.original)
        method.prepare()
        self.method, self.model = method, run.original
        self.ego = run.original.ego_embeddings().detach().double() * 3  # where the losses are not linear
        self.loss = self.in_double(method.loss)

    def in_double(self, loss):
        views = [_Double(view) for view in loss.views]
        return replace(loss, adjacency=loss.adjacency.double(), views=views)

    def dense_loss(self, ego, graph, triples, views):
        """From the formulas, with dense matrices and torch's own softmax."""
        model, name = self.model, type(self.model).__name__
        adjacency = torch.tensor(dense.graph_adjacency(graph))
        n_layers = 0 if name == "BPR" else model.n_layers

        def layers(matrix, noise=0.0):
            result = [ego]
            for _ in range(n_layers):
                layer = matrix @ result[-1]
                if noise:
                    layer = layer + layer.detach().sign() * F.normalize(torch.rand_like(layer), dim=1) * noise
                result.append(layer)
            return result[1:] if name == "SimGCL" else result

        final = torch.stack(layers(adjacency)).mean(dim=0)
        users, items, negatives = triples.users, triples.items + model.n_users, triples.negatives + model.n_users
        loss = -F.logsigmoid((final[users] * (final[items] - final[negatives])).sum(dim=1)).sum()
        if name == "SGL":
            loss = loss + model.reg_weight * sum(ego[side].norm() for side in (users, items, negatives)) / len(users)
        elif name != "BPR":
            loss = loss + model.reg_weight / 2 * sum(ego[side].square().sum() for side in (users, items, negatives))
        if name in ("SGL", "SimGCL"):
            torch.manual_seed(self.loss.seed)
            if name == "SGL":
                tables = [torch.stack(layers(torch.tensor(dense.graph_adjacency(view)))).mean(dim=0) for view in views]
            else:
                tables = [torch.stack(layers(adjacency, model.noise_length)).mean(dim=0) for _ in range(2)]
            for nodes, everyone in ((users, range(model.n_users)), (items, range(model.n_users, len(ego)))):
                if name == "SGL":
                    logits = cosines(tables[0][nodes], tables[1][list(everyone)]) / model.ssl_tau
                    loss = loss + model.ssl_weight * F.cross_entropy(logits, nodes - everyone[0], reduction="sum")
                else:
                    present = torch.unique(nodes)
                    logits = cosines(tables[0][present], tables[1][present]) / model.temperature
                    target = torch.arange(len(present))
                    loss = loss + len(users) * model.ssl_weight * F.cross_entropy(logits, target)
        return loss


def cosines(first, second):
    return F.normalize(first, dim=1) @ F.normalize(second, dim=1).T


class _Double:
    """A graph whose adjacency is in float64."""

    def __init__(self, graph):
        self.graph, self.adjacency = graph, graph.adjacency.double()


@pytest.fixture
def case(prepared):
    weights = {"ssl_weight": 0.3, "simgcl_lambda": 0.3, "reg_weight": 0.1}
    # A frozen loss takes all candidates, whatever the training took.
    return lambda backbone, **changes: Case(
        prepared(backbone, unlearn_methods="GIF", ssl_candidates=3, **weights, **changes)
    )


@pytest.mark.parametrize("backbone", BACKBONES)
def test_gradient_and_hessian_product_are_those_of_autograd(case, backbone):
    case = case(backbone)
    data, method, x = case.run.data, case.method, random_table(len(case.ego), seed=3, dimension=8)

    def loss(ego):
        return case.dense_loss(ego, data.graph, method.triples, method.views)

    assert float(case.loss(case.ego)) == pytest.approx(float(loss(case.ego)), rel=1e-8)
    leaf = case.ego.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(leaf), leaf)
    torch.testing.assert_close(
        case.loss.gradient(case.ego), expected, rtol=1e-6, atol=1e-6
    )  # the adjacency came from float32
    _, expected = torch.autograd.functional.vhp(loss, case.ego, x)
    product = case.loss.hessian(case.ego)
    torch.testing.assert_close(product(x), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(product(2 * x), 2 * expected, rtol=1e-6, atol=1e-6)  # the graph survives a product


@pytest.mark.parametrize("backbone", BACKBONES)
def test_change_of_gradient_is_that_of_the_two_losses(case, backbone):
    case = case(backbone, simgcl_eps=0.0)  # noise is drawn in the table's type, and float64 draws other numbers
    data, method = case.run.data, case.method
    leaf = case.run.original.ego_embeddings().detach().double().requires_grad_()
    kept = data.remaining_graph.contains(method.triples.users, method.triples.items)
    before = case.dense_loss(leaf, data.graph, method.triples, method.views)
    after = case.dense_loss(leaf, data.remaining_graph, method.triples.select(kept), method.remaining_views())
    (expected,) = torch.autograd.grad(before - after, leaf)
    torch.testing.assert_close(method.change_of_gradient().double(), expected, rtol=1e-3, atol=1e-4)


def test_the_full_difference_is_the_local_one(prepared):
    """With frozen negatives, edges whose triples are out of reach of the request change nothing."""
    run = prepared(unlearn_methods="GIF", forget_ratio=1e-9, n_layers=1)
    method = METHODS["GIF"](run.config, run.data, run.original)
    method.prepare()
    full = method.change_of_gradient()
    triples, kept, graph = method.triples, method.kept(), run.data.graph
    matrix = torch.tensor(dense.graph_adjacency(graph) > 0)
    ends = torch.zeros(graph.n_nodes, dtype=torch.bool)
    ends[run.data.request.users] = ends[run.data.request.items + graph.n_users] = True
    near = ends | matrix[ends].any(dim=0)  # one layer of propagation away
    reach = near[triples.users] | near[triples.items + graph.n_users] | near[triples.negatives + graph.n_users]
    assert 0 < reach.sum() < len(reach)
    before = method.frozen(graph, triples, [], triples.select(reach))
    after = method.frozen(run.data.remaining_graph, triples.select(kept), [], triples.select(reach & kept))
    torch.testing.assert_close(before.gradient(method.point) - after.gradient(method.point), full, rtol=1e-4, atol=1e-6)


@pytest.fixture
def scif(prepared):
    """A case of a backbone, and SCIF prepared on it."""

    def prepare(backbone, **changes):
        run = prepared(backbone, unlearn_methods="GIF,SCIF", ssl_weight=0.3, reg_weight=0.1, **changes)
        case = Case(run, "SCIF")
        return case, case.method

    return prepare


@pytest.mark.parametrize("backbone", ["BPR", "LightGCN", "SGL"])
def test_scif_relabels_the_request(scif, backbone):
    case, method = scif(backbone)
    data, model, triples = case.run.data, case.model, method.triples
    requested = set(zip(data.request.users.tolist(), data.request.items.tolist()))
    degrees = np.bincount(data.remaining_graph.items.numpy(), minlength=model.n_items)
    adjacency = torch.tensor(dense.graph_adjacency(data.graph))
    leaf = model.ego_embeddings().detach().double().requires_grad_()
    layers = [leaf]
    for _ in range(0 if backbone == "BPR" else model.n_layers):
        layers.append(adjacency @ layers[-1])
    final, change = torch.stack(layers).mean(dim=0), 0
    for user, item, negative in zip(*(side.tolist() for side in (triples.users, triples.items, triples.negatives))):
        if (user, item) in requested:
            label = (degrees[item] + 1) / (degrees[item] + degrees[negative] + 2)
            margin = final[user] @ (final[model.n_users + item] - final[model.n_users + negative])
            relabelled = -label * F.logsigmoid(margin) - (1 - label) * F.logsigmoid(-margin)
            change = change - F.logsigmoid(margin) - relabelled
    (expected,) = torch.autograd.grad(change, leaf)
    torch.testing.assert_close(method.change_of_gradient().double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backbone", ["BPR", "LightGCN", "SGL"])
def test_scif_solves_with_the_dense_hessian_of_the_requests_rows(scif, backbone):
    changes = {"unlearn_scif_damping": 8.0, "unlearn_scif_tolerance": 1e-9, "unlearn_scif_iterations": 500}
    case, method = scif(backbone, embedding_size=2, forget_ratio=0.01, **changes)
    data, model, method.hessian = case.run.data, case.model, case.loss.hessian(case.ego)
    hessian = torch.autograd.functional.hessian(
        lambda ego: case.dense_loss(ego, data.graph, method.triples, method.views), case.ego
    ).reshape(case.ego.numel(), -1)
    rows = sorted({*data.request.users.tolist(), *(data.request.items + model.n_users).tolist()})
    places = (torch.tensor(rows)[:, None] * 2 + torch.arange(2)).reshape(-1)
    v = random_table(len(case.ego), seed=5, dimension=2)
    block = hessian[places][:, places] + 8 * torch.eye(len(places), dtype=torch.double)
    expected = torch.zeros_like(v).reshape(-1)
    expected[places] = torch.linalg.solve(block, v.reshape(-1)[places])
    estimate, details = method.solve(v)
    torch.testing.assert_close(estimate.reshape(-1), expected, rtol=1e-5, atol=1e-7)
    assert details["rows moved"] == len(rows) and details["residual"] == "0.00" and details["iterations"] > 0


@pytest.mark.parametrize("backbone", ["LightGCN", "SGL"])
def test_ceu_trains_with_the_noise_shared_among_the_batches(prepared, backbone):
    run = prepared(backbone)
    model = perturbed(MODELS[backbone])(run.config, run.data.train)
    noise = torch.randn(model.ego_embeddings().shape)
    model.perturb(0.5, noise, n_edges=300)
    ego, adjacency = model.ego_embeddings().detach(), model.adjacency
    batch = random_triples(60, model.n_users, model.n_items)
    batch = Interaction({"user_id": batch.users, "item_id": batch.items, "neg_item_id": batch.negatives})
    given = batch, ego, model.forward(ego, adjacency), [run.data.graph] * 2
    plain, whole = super(type(model), model).model_loss, model.model_loss
    torch.manual_seed(0)
    before = plain(*given)
    torch.manual_seed(0)
    extra = 0.25 * ego.square().sum() + (noise * ego).sum()
    torch.testing.assert_close(60 * (whole(*given) - before), extra * 60 / 300, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("backbone", ["XSimGCL", "LightGCL", "NCL", "DGCF", "DirectAU", "UltraGCN"])
def test_gradient_and_hessian_product_are_those_of_finite_differences(prepared, backbone):
    """Of the losses that tests/test_backbones.py compares with references."""
    weights = {
        "reg_weight": 0.1,
        "xsimgcl_eps": 0.0,
        "ssl_reg": 0.1,
        "proto_reg": 0.1,
    }  # noise has an edge at each sign
    run = prepared(backbone, unlearn_methods="GIF", epochs=1, **weights)
    method = METHODS["GIF"](run.config, run.data, run.original)
    method.prepare()
    loss = replace(method.loss, adjacency=method.loss.adjacency.double())
    ego = run.original.ego_embeddings().detach().double() * 3
    x = random_table(len(ego), seed=3, dimension=8)
    product, step = loss.hessian(ego)(x), 1e-5
    along = (loss(ego + step * x) - loss(ego - step * x)) / (2 * step)
    assert float((loss.gradient(ego) * x).sum()) == pytest.approx(float(along), rel=1e-5)
    along = (loss.gradient(ego + step * x) - loss.gradient(ego - step * x)) / (2 * step)
    torch.testing.assert_close(product, along, rtol=1e-4, atol=1e-5 * float(along.abs().max()))


def test_a_loss_of_its_own_is_that_of_all_edges_as_one_batch(prepared, monkeypatch):
    run = prepared(unlearn_methods="GIF")

    def model_loss(self, interaction, ego, final, views):
        users, items = interaction["user_id"], interaction["item_id"] + self.n_users
        return (1 - (final[users] * final[items]).sum(dim=1)).square().mean()

    monkeypatch.setattr(type(run.original), "model_loss", model_loss)
    method = METHODS["GIF"](run.config, run.data, run.original)
    method.prepare()
    adjacency = torch.tensor(dense.graph_adjacency(run.data.graph))
    ego, x = run.original.ego_embeddings().detach().double(), random_table(run.data.graph.n_nodes, seed=3, dimension=8)

    def loss(ego):
        final = torch.stack([ego, adjacency @ ego, adjacency @ adjacency @ ego]).mean(dim=0)
        scores = (final[run.data.graph.users] * final[run.data.graph.items + run.original.n_users]).sum(dim=1)
        return (1 - scores).square().sum()

    expected = torch.autograd.functional.vhp(loss, ego, x)[1]
    torch.testing.assert_close(method.hessian(x.float()).double(), expected, rtol=1e-3, atol=1e-3)


def without_interaction(self, interaction, ego, final, views):
    return final.square().mean()


OWN_LOSSES = {
    "takes the BPR of single edges, but LightGCN has its own": ("IFRU", without_interaction),
    "takes the BPR of single edges": ("SCIF", without_interaction),
    "`model_loss` of LightGCN draws at random": ("GIF", lambda self, _, ego, *others: (ego * torch.rand(1)).sum()),
    "cannot be differentiated twice": ("GIF", lambda self, _, ego, *others: ego.sum()),
}


@pytest.mark.parametrize("message", OWN_LOSSES)
def test_a_loss_of_its_own_that_gives_no_estimate_is_no_result(prepared, monkeypatch, message):
    name, model_loss = OWN_LOSSES[message]
    run = prepared(unlearn_methods=name)
    monkeypatch.setattr(type(run.original), "model_loss", model_loss)
    with pytest.raises(NoResult, match=message):
        METHODS[name](run.config, run.data, run.original).prepare()


def symmetric(eigenvalues):
    """A product with a random symmetric matrix of these eigenvalues, for tables of two columns, and the matrix."""
    size = len(eigenvalues)
    basis, _ = torch.linalg.qr(random_table(size, dimension=size))
    matrix = basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.double)) @ basis.T
    return lambda x: (matrix @ x.reshape(-1)).reshape(x.shape), matrix


POSITIVE = [0.5, 1.0, 2.0, 3.0, 4.0, 8.0, 9.0, 10.0]


def test_solvers_invert_a_positive_matrix():
    product, matrix = symmetric(POSITIVE)
    v = random_table(4, seed=1, dimension=2)
    expected = torch.linalg.solve(matrix, v.reshape(-1)).reshape(v.shape)
    x, steps, residual = conjugate_gradient(product, v, 1e-8, 100)
    torch.testing.assert_close(x, expected, rtol=1e-6, atol=1e-6)
    assert steps <= 8 and residual <= 1e-8
    x, steps, residual = neumann(product, v, 12.0, 0.0, 2000)
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-5)
    damped = torch.linalg.solve(matrix + 0.3 * 12 * torch.eye(8), v.reshape(-1)).reshape(v.shape)
    torch.testing.assert_close(neumann(product, v, 12.0, 0.3, 2000)[0], damped, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "solve", [lambda p, v, n: neumann(p, v, 12.0, 0.0, n), lambda p, v, n: conjugate_gradient(p, v, 1e-8, n)]
)
@pytest.mark.parametrize("negative", [-0.2, -2.0, -9.0])
def test_more_steps_never_leave_a_larger_residual(solve, negative):
    product, _ = symmetric([negative, *POSITIVE[1:]])
    v = random_table(4, seed=1, dimension=2)
    results = [solve(product, v, steps) for steps in range(1, 60)]
    residuals = [float((v - product(x)).norm() / v.norm()) for x, _, _ in results]
    assert residuals == pytest.approx([residual for _, _, residual in results])
    assert all(later <= earlier + 1e-9 for earlier, later in zip(residuals, residuals[1:])) and residuals[0] <= 1


@pytest.mark.parametrize("solve", [lambda *a: neumann(*a, 12.0, 0.0, 50), lambda *a: conjugate_gradient(*a, 1e-2, 50)])
def test_what_is_not_finite_is_told(solve):
    v = random_table(4, dimension=2)
    with pytest.raises(Diverged, match="not finite"):
        solve(lambda x: x * torch.nan, v)
    with pytest.raises(Diverged, match="not finite"):
        solve(lambda x: x, v * torch.inf)


def test_residual_is_that_of_the_result():
    product, _ = symmetric([-0.1, *POSITIVE[1:]])
    v = random_table(4, seed=1, dimension=2)
    x, _, residual = conjugate_gradient(product, v, 1e-8, 100)
    assert residual == pytest.approx(float((v - product(x)).norm() / v.norm()))
    x, _, residual = neumann(product, v, 12.0, 0.1, 100)
    assert residual == pytest.approx(float((v - 0.1 * 12 * x - product(x)).norm() / v.norm()))


def test_too_small_a_scale_is_told():
    product, _ = symmetric(POSITIVE)
    with pytest.raises(Diverged, match="a scale of 0.5 is below"):
        neumann(product, random_table(4, dimension=2), 0.5, 0.0, 10)


@pytest.mark.parametrize("solve", [lambda *a: neumann(*a, 12.0, 0.0, 50), lambda *a: conjugate_gradient(*a, 1e-2, 50)])
def test_nothing_to_solve(solve):
    product, _ = symmetric(POSITIVE)
    x, _, residual = solve(product, torch.zeros(4, 2, dtype=torch.double))
    assert not x.any() and residual == 0


def test_spectral_radius():
    product, _ = symmetric([-20.0, *POSITIVE])
    assert spectral_radius(product, torch.zeros(9, 1, dtype=torch.double)) == pytest.approx(20, rel=0.02)
