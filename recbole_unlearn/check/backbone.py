"""Does a model hold to what the methods rely on? Checked on a few users and items before a run, and by the contract."""

import inspect
import traceback
from collections.abc import Callable

import numpy as np
import torch
from recbole.data.dataset import Dataset

from recbole_unlearn.check import exact, network
from recbole_unlearn.check.bench import Bench, buffers_stay, fresh, numbers
from recbole_unlearn.check.hold import hold
from recbole_unlearn.config import Config
from recbole_unlearn.data.copies import with_edges_of, with_nodes
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.model import MODELS, ExactRecommender, NetworkRecommender, UnlearnableRecommender
from recbole_unlearn.model.weights import check_weights
from recbole_unlearn.own_modules import source_line

MOST_USERS, MOST_ITEMS = 60, 120  # of the data that a run checks its model on


def check_backbone(config: Config, train: Dataset, graph: Graph) -> None:
    """Check the model of a run on a few of its users and items.

    Args:
        config: settings of the run.
        train: its training data, built.
        graph: the edges of these.

    Raises:
        UsageError: what the model does not hold to, and what to do.
    """
    model_class = MODELS[config["model"]]
    if issubclass(model_class, UnlearnableRecommender):
        forward_takes_a_table_and_a_graph(model_class)
    small = _small(train, graph)
    if not len(small.inter_feat):
        return
    try:
        if issubclass(model_class, ExactRecommender):
            _all_hold(exact.CHECKS, exact.Fit.of(config, small))
        elif issubclass(model_class, NetworkRecommender):
            _all_hold(network.CHECKS, network.Net.of(config, small))
        else:
            _all_hold(CHECKS, Bench.of(config, small))
    except UsageError:
        raise
    except Exception as error:  # whatever a user's code raises
        where = source_line(error)
        said = " ".join(str(error).split()).rstrip(".")
        if isinstance(error, NotImplementedError) and not said:
            said = f"it lacks {traceback.extract_tb(error.__traceback__)[-1].name}"
        raise UsageError(
            f"{config['model']} fails a check on {len(small.inter_feat)} interactions: {type(error).__name__}: "
            f"{said}{where}."
        ) from error


def _all_hold(checks, bench):
    for check in checks:
        check(bench)


def _small(train, graph):
    """A dataset of the users and items with the first interactions."""
    users = torch.unique(graph.users)[:MOST_USERS]
    items = graph.items[torch.isin(graph.users, users)].bincount(minlength=graph.n_items)
    items = torch.argsort(items, descending=True, stable=True)[:MOST_ITEMS]
    return with_nodes(train, users, items[items > 0].sort().values)


def forward_takes_a_table_and_a_graph(model_class: type[UnlearnableRecommender]) -> None:
    """Its forward takes a table and a graph."""
    name = model_class.__name__
    hold(
        model_class.forward is not UnlearnableRecommender.forward,
        f"{name} lacks forward(self, ego, adjacency), the final embeddings from a table and a graph.",
    )
    try:
        inspect.signature(model_class.forward).bind("self", "ego", "adjacency")
    except TypeError as error:
        raise UsageError(
            f"{name}.forward must take the table and the graph, forward(self, ego, adjacency): {error}."
        ) from None


def weights_besides_the_table_are_named(bench: Bench) -> None:
    """The model trains a table of users and items, and names what it trains besides."""
    model = bench.model
    dtype = model.ego_embeddings().dtype
    hold(
        dtype in (torch.float32, torch.float64),
        f"{bench.name} keeps its table as {dtype}, which graphs' products do not take: use float32 or float64.",
    )
    check_weights(model)
    shape, n_nodes = tuple(model.ego_embeddings().shape), model.n_users + model.n_items
    hold(
        len(shape) == 2 and shape[0] == n_nodes,
        f"{bench.name}.ego_embeddings has shape {shape}, not ({n_nodes}, d) for {model.n_users} users and then "
        f"{model.n_items} items.",
    )


def forward_gives_a_row_for_each_node(bench: Bench) -> None:
    """Final embeddings have a row for each node of the table."""
    ego = bench.other_table()
    final = bench.model.eval().forward(ego, bench.graph.adjacency.to(ego.device))
    hold(
        isinstance(final, torch.Tensor),
        f"{bench.name}.forward must return one table of shape (N, d), users first, not {type(final).__name__}.",
    )
    hold(
        final.ndim == 2 and len(final) == len(ego),
        f"{bench.name}.forward makes a table of {tuple(final.shape)} from one of {tuple(ego.shape)}, not a row a node.",
    )


def forward_is_pure(bench: Bench) -> None:
    """The result depends on both arguments alone, and the arguments stay as they are."""
    model, ego, name = bench.model.eval(), bench.other_table(), bench.name
    adjacency = bench.remaining_graph.to(ego.device).adjacency
    values, own = adjacency.values().clone(), model.ego_embeddings().detach().clone()
    first = model.forward(ego, adjacency).detach().clone()
    hold(torch.equal(ego, bench.other_table()), f"{name}.forward changes the table that it is given.")
    hold(torch.equal(adjacency.values(), values), f"{name}.forward changes the graph that it is given.")
    model.set_ego_embeddings(torch.zeros_like(ego))
    again = model.forward(ego, adjacency)
    model.set_ego_embeddings(own)
    hold(
        torch.equal(again, first),
        f"{name}.forward reads the model's own table, or draws at random: it must compute from its arguments.",
    )
    model.set_graph(bench.graph.without(bench.graph.users[1::2], bench.graph.items[1::2]))
    again = model.forward(ego, adjacency)
    model.set_graph(bench.graph)
    hold(
        torch.equal(again, first),
        f"{name}.forward reads the model's own graph: it must use the adjacency that it is given.",
    )


def training_changes_weights_alone(bench: Bench) -> None:
    """What a step of training leaves in a buffer, or anywhere else, no method revises."""
    model, ego, name = bench.model.eval(), bench.other_table(), bench.name
    before = model.forward(ego, model.adjacency).detach().clone()
    buffers_stay(model, name, lambda: bench.loss_of(model))
    hold(
        torch.equal(model.forward(ego, model.adjacency), before),
        f"{name}.forward makes other embeddings of the same table and graph after a step of training: it must read "
        "nothing that its loss writes, which no method revises.",
    )


def revised_is_a_fresh_model_on_the_remaining_data(bench: Bench) -> None:
    """Nothing of the forgotten edges stays: not in the scores, in a buffer or in the loss."""
    ego, name = bench.other_table(), bench.name
    revised = bench.model.revised(ego, bench.remaining_graph)
    hold(
        not revised.graph.contains(*(side.to(revised.device) for side in bench.forgotten)).any(),
        f"{name}.revised keeps forgotten edges in its graph.",
    )
    expected = fresh(bench.config, with_edges_of(bench.train, bench.remaining_graph))
    expected.set_ego_embeddings(ego)
    expected.eval()
    kept, new = numbers(revised), numbers(expected)
    for key in kept.keys() & new.keys():
        hold(
            kept[key].shape == new[key].shape and np.allclose(kept[key], new[key], atol=1e-6, equal_nan=True),
            f"{name}.revised keeps '{key}' as it was computed from all data, forgotten ones included: compute it in "
            "set_graph, or from forward's arguments.",
        )
    hold(
        torch.allclose(revised.final_embeddings(), expected.final_embeddings(), atol=1e-5),
        f"{name}.revised scores unlike a new {name} on the remaining data with the same table.",
    )
    mine, theirs = bench.loss_of(revised), bench.loss_of(expected)
    hold(
        torch.allclose(mine, theirs, rtol=1e-4, atol=1e-6, equal_nan=True),
        f"{name}.revised has another loss than a new {name} on the remaining data with the same table: its loss reads "
        "something of all data, forgotten ones included. Compute it in set_graph or draw_views.",
    )


def scores_are_dot_products(bench: Bench) -> None:
    """RecBole's ``predict`` and ``full_sort_predict`` both score by the final embeddings."""
    model, batch, name = bench.model.eval(), bench.batch, bench.name
    final = model.forward(model.ego_embeddings(), model.adjacency).detach().double()
    rows = batch[model.USER_ID], batch[model.ITEM_ID] + model.n_users
    expected = (final[rows[0]] * final[rows[1]]).sum(dim=1)
    hold(
        torch.allclose(model.predict(batch).double(), expected, rtol=1e-5, atol=1e-5),
        f"{name}.predict is not the dot product of the final embeddings, which every method and measure goes by.",
    )
    of_all = model.full_sort_predict(batch).view(len(batch), model.n_items)
    picked = of_all[torch.arange(len(batch)), batch[model.ITEM_ID]].double()
    hold(
        torch.allclose(picked, expected, rtol=1e-5, atol=1e-5),
        f"{name}.full_sort_predict scores unlike its predict.",
    )


def loss_has_a_gradient(bench: Bench) -> None:
    """A batch of the model's own loader trains the table, and the weights besides."""
    model = bench.model.train()
    loss = model.calculate_loss(bench.batch)
    hold(
        isinstance(loss, torch.Tensor) and loss.ndim == 0 and bool(torch.isfinite(loss)),
        f"{bench.name}.calculate_loss gives {loss}, not one finite number.",
    )
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    hold(loss.requires_grad, f"The loss of {bench.name} has no gradient for its table: something detaches it.")
    gradients = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    for name, gradient in zip(trained, gradients):
        part = name if name in model.named_weights() else "table"
        hold(
            gradient is not None and bool(gradient.any()),
            f"The loss of {bench.name} has no gradient for its {part}: something detaches it, or nothing reads it.",
        )


CHECKS: tuple[Callable[[Bench], None], ...] = (
    weights_besides_the_table_are_named,
    forward_gives_a_row_for_each_node,
    forward_is_pure,
    training_changes_weights_alone,
    revised_is_a_fresh_model_on_the_remaining_data,
    scores_are_dot_products,
    loss_has_a_gradient,
)
