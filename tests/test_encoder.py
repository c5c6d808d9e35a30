"""The influence encoder against explicit float64 numpy, and which of its parameters train when."""

from types import SimpleNamespace

import dense
import numpy as np
import pytest
import torch

from recbole_unlearn.encoder.paper import InfluenceEncoder
from recbole_unlearn.graph import Graph
from recbole_unlearn.trainer import InfluenceEncoderTrainer, UnlearningTask

N_USERS, N_ITEMS, DIMENSION = 6, 5, 4
N_NODES = N_USERS + N_ITEMS
REQUEST = Graph.from_edges(torch.tensor([1, 1, 2, 5]), torch.tensor([1, 2, 2, 4]), N_USERS, N_ITEMS)
TOUCHED = REQUEST.degrees() > 0
TASK = SimpleNamespace(forget_adjacency=REQUEST.adjacency, touched=TOUCHED)
PRETRAINED, FINETUNED = {"influence", "weight"}, {"ego", "mlp.0.weight", "mlp.0.bias", "mlp.2.weight", "mlp.2.bias"}


def encoder_of(n_layers=3, rho=0.1, trained_mlp=False):
    torch.manual_seed(0)
    encoder = InfluenceEncoder(torch.randn(N_NODES, DIMENSION), torch.randn(N_NODES, DIMENSION), n_layers, rho)
    torch.nn.init.normal_(encoder.influence)
    torch.nn.init.normal_(encoder.weight)
    if trained_mlp:
        for parameter in encoder.mlp.parameters():
            torch.nn.init.normal_(parameter)
    return encoder


def reference(encoder, influence=None, weight=None):
    """Eq. 15-18 with whole matrix powers."""
    values = {key: value.detach().double().numpy() for key, value in encoder.state_dict().items()}
    influence = values["influence"] if influence is None else influence
    weight = values["weight"] if weight is None else weight
    power = [np.linalg.matrix_power(dense.graph_adjacency(REQUEST), l) for l in range(encoder.n_layers + 1)]
    shift = sum(power) @ influence - encoder.rho * power[-1] @ (weight * values["final"])
    hidden = shift @ values["mlp.0.weight"].T + values["mlp.0.bias"]
    hidden = np.where(hidden > 0, hidden, 0.99 * hidden)
    change = hidden @ values["mlp.2.weight"].T + values["mlp.2.bias"]
    return values["ego"] + change * TOUCHED.numpy()[:, None]


@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize("rho", [0.0, 0.1, 2.0])
@pytest.mark.parametrize("trained_mlp", [False, True], ids=["identity", "trained"])
def test_zero_shot_pass(n_layers, rho, trained_mlp):
    encoder = encoder_of(n_layers, rho, trained_mlp)
    revised = encoder(TASK)
    np.testing.assert_allclose(revised.detach(), reference(encoder), atol=1e-4)


def test_gradients():
    encoder = encoder_of(rho=2.0, trained_mlp=True)
    upstream = torch.randn(N_NODES, DIMENSION)
    encoder(TASK).backward(upstream)
    upstream = upstream.double().numpy()
    for name in ("influence", "weight"):
        start = getattr(encoder, name).detach().double().numpy()
        expected = dense.gradient(lambda x: (upstream * reference(encoder, **{name: x})).sum(), start)
        np.testing.assert_allclose(getattr(encoder, name).grad, expected, atol=1e-3)


def test_untouched_rows_do_not_move():
    encoder = encoder_of(trained_mlp=True)
    moved = (encoder(TASK) != encoder.ego).any(dim=1)
    assert torch.equal(moved, TOUCHED)


def test_a_fresh_encoder_hardly_moves_anything():
    ego = torch.randn(N_NODES, DIMENSION)
    encoder = InfluenceEncoder(ego, ego, 3, 0.1)
    assert (encoder(TASK) - ego).abs().max() < 0.1


def test_encoder_copies_the_original_table():
    ego, final = torch.ones(N_NODES, DIMENSION), torch.ones(N_NODES, DIMENSION)
    encoder = InfluenceEncoder(ego, final, 3, 0.1)
    ego.fill_(5)
    final.fill_(5)
    assert (encoder.ego == 1).all() and (encoder.final == 1).all()


def trainable(encoder):
    return {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}


def test_what_trains_before_and_after_start_finetuning():
    encoder = encoder_of()
    assert trainable(encoder) == PRETRAINED
    encoder.start_finetuning()
    assert trainable(encoder) == FINETUNED


@pytest.mark.parametrize("finetuning", [False, True])
def test_training_moves_exactly_these(prepared, finetuning):
    run = prepared(epochs=2)
    encoder = InfluenceEncoder(run.original.ego_embeddings().detach(), run.original.final_embeddings(), 3, 0.1)
    if finetuning:
        encoder.start_finetuning()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    task = UnlearningTask(run.config, run.data.train, run.data.graph, run.data.request)
    InfluenceEncoderTrainer(run.config, encoder, run.original, "encoder", lambda epoch: task).fit(
        task.loader, saved=False, verbose=False
    )
    moved = {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == (FINETUNED if finetuning else PRETRAINED)
