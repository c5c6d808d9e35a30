"""The losses against explicit float64 numpy, and that a loss of weight 0 is not computed."""

import itertools

import dense
import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from recbole_unlearn import info_nce, loss
from recbole_unlearn.data.sampler import train_loader
from recbole_unlearn.encoder.paper import InfluenceEncoder
from recbole_unlearn.errors import UsageError
from recbole_unlearn.trainer import influence_encoder as trainer

N_USERS, N_ITEMS = 5, 6


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def leaf(array):
    return torch.tensor(array, dtype=torch.float32, requires_grad=True)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_info_nce_and_its_gradients(temperature, weighted):
    anchors, candidates = normal(4, 3), normal(6, 3, seed=1)
    positives = np.array([5, 0, 0, 2])
    weights = np.array([1.0, 3.0, 0.0, 2.0]) if weighted else np.ones(4)

    def reference(a, c):
        return (weights * dense.info_nce_terms(a, c, positives, temperature)).sum()

    a, c = leaf(anchors), leaf(candidates)
    given = torch.tensor(weights, dtype=torch.float32) if weighted else None
    value = info_nce.info_nce(a, c, torch.tensor(positives), temperature, given)
    (2 * value).backward()
    assert value.item() == pytest.approx(reference(anchors, candidates), rel=1e-4)
    np.testing.assert_allclose(a.grad, 2 * dense.gradient(lambda x: reference(x, candidates), anchors), atol=1e-3)
    np.testing.assert_allclose(c.grad, 2 * dense.gradient(lambda x: reference(anchors, x), candidates), atol=1e-3)


def test_info_nce_is_twice_differentiable(monkeypatch):
    monkeypatch.setattr(info_nce, "INFO_NCE_BLOCK", 20)  # two or three anchors a block
    inputs = [torch.tensor(normal(rows, 3, seed=rows), requires_grad=True) for rows in (7, 9)]
    weights, positives = torch.linspace(0, 2, 7, dtype=torch.double), torch.tensor([0, 1, 1, 4, 8, 2, 3])

    def value(a, c):
        return info_nce.info_nce(a, c, positives, 0.3, weights)

    assert torch.autograd.gradcheck(value, inputs) and torch.autograd.gradgradcheck(value, inputs)


@pytest.mark.parametrize("chosen", [[3, 0, 7], [8], [4, 3, 5]])
def test_info_nce_of_chosen_candidates_is_twice_differentiable(monkeypatch, chosen):
    monkeypatch.setattr(info_nce, "INFO_NCE_BLOCK", 6)
    inputs = [torch.tensor(normal(rows, 3, seed=rows), requires_grad=True) for rows in (7, 9)]
    weights, positives = torch.linspace(0, 2, 7, dtype=torch.double), torch.tensor([0, 1, 1, 4, 8, 2, 3])

    def value(a, c):
        return info_nce.info_nce(a, c, positives, 0.3, weights, torch.tensor(chosen))

    assert torch.autograd.gradcheck(value, inputs) and torch.autograd.gradgradcheck(value, inputs)


def test_chosen_candidates_give_the_sum_over_all_without_bias():
    anchors, candidates, positive, temperature = normal(1, 3), normal(6, 3, seed=1), 2, 0.5
    a, c = torch.tensor(anchors), torch.tensor(candidates)
    similarity = torch.cosine_similarity(a, c[[positive]]).item() / temperature

    def total(chosen):
        value = info_nce.info_nce(
            a, c, torch.tensor([positive]), temperature, chosen=None if chosen is None else torch.tensor(list(chosen))
        )
        return np.exp(value.item() + similarity)

    exact = np.exp(dense.info_nce_terms(anchors, candidates, np.array([positive]), temperature)[0] + similarity)
    assert total(None) == pytest.approx(exact)
    for size in (1, 2, 5):
        subsets = list(itertools.combinations(range(6), size))
        for inside in (True, False) if size > 1 else (False,):
            totals = [total(subset) for subset in subsets if (positive in subset) == inside]
            assert np.mean(totals) == pytest.approx(exact) and (len(totals) == 1 or np.std(totals) > 0.01)
    assert total(range(6)) == pytest.approx(exact)


def test_some_of_many_and_all_of_few():
    assert (
        info_nce.some_of(5, 5, torch.device("cpu")) is None and info_nce.some_of(5, None, torch.device("cpu")) is None
    )
    assert len(info_nce.some_of(50, 5, torch.device("cpu")).unique()) == 5


def test_info_nce_is_twice_differentiable_under_autocast():
    anchors, candidates = leaf(normal(4, 3)), leaf(normal(6, 3, seed=1))
    products = []
    for enabled in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = info_nce.info_nce(anchors, candidates, torch.tensor([5, 0, 0, 2]), 0.5)
            (gradient,) = torch.autograd.grad(value, anchors, create_graph=True)
            products.append(torch.autograd.grad(gradient.square().sum(), anchors)[0])
    torch.testing.assert_close(*products, rtol=0.1, atol=0.1)


def test_info_nce_of_rows_of_zeros_has_finite_derivatives():
    anchors, candidates = (torch.zeros(3, 2).index_fill(0, torch.tensor([0]), 1.0).requires_grad_() for _ in range(2))
    value = info_nce.info_nce(anchors, candidates, torch.arange(3), 0.2)
    gradients = torch.autograd.grad(value, (anchors, candidates), create_graph=True)
    second = torch.autograd.grad(sum(g.sum() for g in gradients), (anchors, candidates))
    assert all(g.isfinite().all() and g.abs().max() < 100 for g in (*gradients, *second))


def test_info_nce_in_several_blocks():
    anchors, candidates = normal(1500, 4), normal(1200, 4, seed=1)
    assert anchors.shape[0] * candidates.shape[0] > info_nce.INFO_NCE_BLOCK
    positives = np.random.default_rng(2).integers(0, 1200, 1500)
    a, c = leaf(anchors), leaf(candidates)
    value = info_nce.info_nce(a, c, torch.tensor(positives), 0.2)
    value.backward()

    a64, c64 = (torch.tensor(x, requires_grad=True) for x in (anchors, candidates))
    normalised = [torch.nn.functional.normalize(x, dim=1) for x in (a64, c64)]
    torch.nn.functional.cross_entropy(
        normalised[0] @ normalised[1].T / 0.2, torch.tensor(positives), reduction="sum"
    ).backward()
    expected = dense.info_nce_terms(anchors, candidates, positives, 0.2).sum()
    assert value.item() == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(a.grad, a64.grad, atol=1e-5)
    np.testing.assert_allclose(c.grad, c64.grad, atol=1e-4)


def test_info_nce_of_vectors_of_length_zero_is_finite():
    zeros = torch.zeros(3, 4, requires_grad=True)
    value = info_nce.info_nce(zeros, zeros, torch.arange(3), 0.1)
    value.backward()
    assert value.item() == pytest.approx(3 * np.log(3), rel=1e-5)
    assert torch.isfinite(zeros.grad).all()


@pytest.mark.parametrize("block", [1, 4, 100])
def test_bpr_and_its_gradients_are_those_of_its_formula(monkeypatch, block):
    monkeypatch.setattr(loss, "BLOCK", block)
    nodes = [torch.tensor(np.random.default_rng(seed).integers(0, 6, 9)) for seed in range(3)]  # rows repeat

    def formula(table):
        user, positive, negative = (table[side] for side in nodes)
        return -torch.log(1e-10 + torch.sigmoid((user * (positive - negative)).sum(dim=1))).mean()

    table = torch.tensor(normal(6, 4), requires_grad=True)
    table.data[0] *= 30  # some margins are far from zero
    value = loss.bpr_loss(table, *nodes)
    assert value.item() == pytest.approx(formula(table).item(), rel=1e-12)
    gradients = [torch.autograd.grad(3 * f, table)[0] for f in (value, formula(table))]
    torch.testing.assert_close(*gradients)
    hessian = [torch.autograd.functional.hessian(f, table) for f in (lambda x: loss.bpr_loss(x, *nodes), formula)]
    torch.testing.assert_close(*hessian)


def test_bpr_is_exact_under_autocast():
    nodes = [torch.tensor(np.random.default_rng(seed).integers(0, 6, 9)) for seed in range(3)]
    table = leaf(3 * normal(6, 4))
    exact = loss.bpr_loss(table, *nodes)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = loss.bpr_loss(table, *nodes)
    assert rounded.item() == exact.item()
    assert torch.equal(*(torch.autograd.grad(value, table)[0] for value in (rounded, exact)))


def test_pair_scores():
    table, users, items = normal(N_USERS + N_ITEMS, 3), np.array([0, 4, 4]), np.array([5, 0, 5])
    expected = [table[u] @ table[N_USERS + i] for u, i in zip(users, items)]
    scores = loss.pair_scores(leaf(table), N_USERS, torch.tensor(users), torch.tensor(items))
    np.testing.assert_allclose(scores.detach(), expected, rtol=1e-5)


def test_unlearning_loss_and_its_gradient():
    scores = np.array([-100.0, -2.0, 0.0, 3.0, 100.0])
    s = leaf(scores)
    value = loss.unlearning_loss(s)
    value.backward()
    assert value.item() == pytest.approx(np.logaddexp(0, scores).mean(), rel=1e-6)
    np.testing.assert_allclose(s.grad, dense.sigmoid(scores) / len(scores), atol=1e-6)


def test_unlearning_loss_of_no_pairs_is_zero():
    assert loss.unlearning_loss(torch.empty(0)).item() == 0


def preserving_reference(after, before, users, items, temperature):
    batch_items = np.unique(items)

    def log_probabilities(table):
        scores = table[users] @ table[N_USERS + batch_items].T / temperature
        return log_softmax(scores, axis=1)[np.arange(len(users)), np.searchsorted(batch_items, items)]

    return ((log_probabilities(after) - log_probabilities(before)) ** 2).mean()


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_preserving_loss_and_its_gradient(temperature):
    after, before = normal(N_USERS + N_ITEMS, 3), normal(N_USERS + N_ITEMS, 3, seed=1)
    users, items = np.array([4, 1, 1, 3, 4]), np.array([2, 0, 2, 5, 2])
    table, original = leaf(after), leaf(before)
    value = loss.preserving_loss(table, original, N_USERS, torch.tensor(users), torch.tensor(items), temperature)
    value.backward()
    expected = preserving_reference(after, before, users, items, temperature)
    slope = dense.gradient(lambda x: preserving_reference(x, before, users, items, temperature), after)
    assert value.item() == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(table.grad, slope, rtol=1e-3, atol=1e-3 * np.abs(slope).max())
    assert original.grad is None


def test_preserving_loss_of_an_unchanged_table_is_zero():
    table, pairs = leaf(normal(N_USERS + N_ITEMS, 3)), torch.tensor([0, 1, 2])
    assert loss.preserving_loss(table, table.detach(), N_USERS, pairs, pairs, 0.1).item() == 0


def test_contrast_loss_and_its_gradient():
    full, partial, nodes = normal(8, 3), normal(8, 3, seed=1), np.array([1, 4, 6])

    def reference(p):
        return dense.info_nce_terms(p[nodes], full[nodes], np.arange(3), 0.5).mean()

    f, p = leaf(full), leaf(partial)
    value = loss.contrast_loss(f, p, torch.tensor(nodes), 0.5)
    value.backward()
    assert value.item() == pytest.approx(reference(partial), rel=1e-5)
    np.testing.assert_allclose(p.grad, dense.gradient(reference, partial), atol=1e-4)
    assert f.grad is None


@pytest.fixture
def losses(prepared):
    """The encoder's weighted losses on one batch, under some settings: ``losses(ie_model_weight=0)``."""

    def compute(monkeypatch=None, forbidden=None, **changes):
        run = prepared(**changes)
        ego = run.original.ego_embeddings().detach()
        encoder = InfluenceEncoder(ego, run.original.final_embeddings(), 2, 0.1)
        task = trainer.UnlearningTask(run.config, run.data.train, run.data.graph, run.data.request)
        encoder_trainer = trainer.InfluenceEncoderTrainer(
            run.config, encoder, run.original, "encoder", lambda epoch: task
        )
        encoder_trainer.task, encoder_trainer.views = task, None
        if forbidden:
            owner = {"model": run.original, "unlearning": encoder_trainer.model}.get(forbidden, trainer)
            monkeypatch.setattr(owner, f"{forbidden}_loss", lambda *arguments, **named: pytest.fail("computed"))
        return encoder_trainer.losses(next(iter(train_loader(run.config, run.data.remaining))))

    return compute


ALL_ON = {f"ie_{name}_weight": 1.0 for name in trainer.ENCODER_LOSSES}


@pytest.mark.parametrize("name", trainer.ENCODER_LOSSES)
def test_a_loss_is_computed_if_its_weight_is_positive(losses, monkeypatch, name):
    values = losses(monkeypatch, forbidden=name, **{**ALL_ON, f"ie_{name}_weight": 0})
    assert len(values) == len(trainer.ENCODER_LOSSES) - 1
    with pytest.raises(pytest.fail.Exception):
        losses(monkeypatch, forbidden=name, **ALL_ON)


def test_all_weights_zero_is_refused(losses):
    with pytest.raises(UsageError, match="ie_model_weight"):
        losses(**{key: 0 for key in ALL_ON})
