"""Test whether a checkpoint was trained on the rows that its store would use: no file format records them."""

from logging import getLogger

import numpy as np
import torch

from recbole_unlearn.errors import UsageError
from recbole_unlearn.evaluator.metrics import auc
from recbole_unlearn.graph import Graph
from recbole_unlearn.loss import pair_scores
from recbole_unlearn.model import ExactRecommender, UnlearnableRecommender
from recbole_unlearn.streams import torch_stream

LEAST_AUC = 0.55  # of training pairs against others of the same degrees; 0.5 if ids mean somebody else, else above 0.64
# On ml-100k, training pairs win by 8 to 19 standard deviations in RecBole's models that were trained on them (BPR and
# LightGCN, 1 to 100 epochs), and by at most 3 if the split was another.
LEAST_DEVIATIONS = 5
# With the right split, matched comparisons show at least this share of what rows know of training pairs beyond chance.
EXPECTED = 0.3
STRUCTURE = 1.5  # the largest singular value's share, relative to a random table's: a table below it is hardly trained
TOLERANCE = 1e-4  # relative to the root mean square of final embeddings; float32 rounds to about 1e-6 of it
NAME_ROWS = "name its training rows with --train_file=FILE"


def sampled_items(model: ExactRecommender, most: int) -> torch.Tensor:
    """Items with training data to compare with a refit, at most so many, or all if ``most`` is 0; ascending."""
    busy = (model.graph.degrees()[model.n_users :] > 0).nonzero().squeeze(1)
    if not 0 < most < len(busy):
        return torch.arange(1, model.n_items, device=busy.device)
    order = torch.randperm(len(busy), generator=torch_stream(0, "columns"))[:most].to(busy.device)
    return busy[order].sort().values


def check_fit(path: str, model: ExactRecommender) -> None:
    """Refuse a fitted model that is not the fit to its own training graph: the equations are the proof.

    Raises:
        UsageError: as above.
    """
    deviation = model.deviation(sampled_items(model, 32))
    if not deviation <= model.limit:
        raise UsageError(
            f"'{path}' is no fit to its training rows: its {model.deviation_of} is {deviation:.2g}, above "
            f"{model.limit:g}. It is damaged, or was made by DropEdges: take another, or fit it again."
        )


def check_knowledge(path: str, dataset: str, model: UnlearnableRecommender) -> float:
    """Refuse weights whose ids mean other users or items than those of the data.

    Args:
        path: of the checkpoint, for the message.
        dataset: name of the dataset.
        model: on its training graph.

    Returns:
        How often the model's rows rank a training pair above a random pair of the same popularity, from 0 to 1.

    Raises:
        UsageError: the weights are not finite, are hardly trained, or are of other ids.
    """
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise UsageError(f"'{path}' has weights that are not finite.")
    graph = model.graph.to("cpu")
    generator = torch_stream(0, "proof")
    chosen = torch.randperm(len(graph), generator=generator)[:10_000]
    users, items = graph.users[chosen], graph.items[chosen]
    others = items[torch.randperm(len(items), generator=generator)]  # as popular: any model ranks well by popularity
    unseen = ~graph.contains(users, others)
    ego = model.ego_embeddings().detach().cpu()  # not propagated: the graph would help even somebody else's rows
    pairs = (users, items), (users[unseen], others[unseen])
    value = auc(*(pair_scores(ego, graph.n_users, *pair).numpy() for pair in pairs))
    if value >= LEAST_AUC:
        return value
    if _is_like_random(ego):
        raise UsageError(
            f"'{path}' is undertrained: its rows are hardly other than before the first epoch. Train it longer."
        )
    raise UsageError(
        f"'{path}' does not know the training data of '{dataset}': its rows tell a training pair from a random "
        f"one in {value:.0%} of cases. Its ids mean other users and items, or the files, `seed` or `eval_args` "
        "have changed."
    )


def check_split(
    path: str, dataset: str, model: UnlearnableRecommender, held_out: Graph, final: torch.Tensor | None, named: bool
) -> None:
    """Refuse a model that was trained on other rows of the data than those of its graph.

    If the checkpoint holds final embeddings, they are the proof: the table, propagated over the right graph, gives them
    again. Otherwise the model must score training pairs above held-out pairs of the same users and equally popular
    items. With another split both sides mix pairs that it was trained on with others, and neither wins.

    Args:
        path: of the checkpoint, for the message.
        dataset: name of the dataset.
        model: on the graph of the training part.
        held_out: the other interactions of the data.
        final: final embeddings in the checkpoint, shape ``(N, d)``; None if it has none.
        named: whether the user names the training rows. They then need no proof, but may be disproved.

    Raises:
        UsageError: the model was trained on other rows, or nothing can be proved.
    """
    if final is not None:
        rows = "the rows in --train_file" if named else "the split that its settings give"
        if not _same_embeddings(model, final):
            others = "others" if named else f"other rows, or on other data. If you have them, {NAME_ROWS}"
            raise UsageError(f"'{path}': its final embeddings are not those of {rows}: it was trained on {others}.")
        return
    knowledge = check_knowledge(path, dataset, model)
    if named:
        getLogger().warning(
            f"'{path}' holds nothing that proves its training rows: they are taken from --train_file as named"
        )
        return
    won, deviation = matched_wins(model.ego_embeddings().detach().cpu(), model.graph.to("cpu"), held_out)
    if won - 0.5 >= LEAST_DEVIATIONS * deviation:
        return
    found = f"a training pair wins against a held-out one in {won:.1%} of cases"
    if EXPECTED * (knowledge - 0.5) < (LEAST_DEVIATIONS + 2) * deviation:  # the right split might do no better
        raise UsageError(
            f"'{path}' is undertrained (or its data are few): its scores tell too little to prove on which rows it "
            f"was trained, {found}. Train it longer, or {NAME_ROWS}."
        )
    raise UsageError(
        f"'{path}' was trained on other rows than the split that its settings give: {found}. If you have them, "
        f"{NAME_ROWS}."
    )


def matched_wins(table: torch.Tensor, graph: Graph, held_out: Graph) -> tuple[float, float]:
    """How often a training pair scores above a held-out pair of the same user whose item is about as popular.

    Args:
        table: of all nodes, shape ``(N, d)``. Not final embeddings: they hold the graph, whatever was trained.
        graph, held_out: on the CPU. Users without training pairs are left out.

    Returns:
        The share of comparisons that the training pairs win, and its standard deviation, infinite if nothing can be
        compared. It treats users as independent, but not the pairs of one user.
    """
    held_out = held_out.without(graph.users, graph.items)  # a repeated interaction may be in both
    popularity = torch.log1p((graph.degrees() + held_out.degrees())[graph.n_users :].double()).numpy()
    scale = popularity.max() + 1
    users, items = graph.users.numpy(), graph.items.numpy()
    order = np.lexsort((popularity[items], users))
    place = users[order] * scale + popularity[items[order]]
    wanted = held_out.users.numpy() * scale + popularity[held_out.items.numpy()]
    after = np.searchsorted(place, wanted).clip(0, len(place) - 1)
    before = (after - 1).clip(0)
    nearest = order[np.where(abs(place[before] - wanted) < abs(place[after] - wanted), before, after)]
    same = users[nearest] == held_out.users.numpy()
    nearest, rivals = torch.from_numpy(nearest[same]), torch.from_numpy(same)
    ours = pair_scores(table, graph.n_users, graph.users[nearest], graph.items[nearest])
    theirs = pair_scores(table, graph.n_users, held_out.users[rivals], held_out.items[rivals])
    surplus = ((ours > theirs).double() + (ours == theirs).double() / 2 - 0.5).numpy()
    by_user = np.bincount(graph.users[nearest].numpy(), surplus, minlength=graph.n_users)
    deviation = np.sqrt((by_user**2).sum()) / max(len(surplus), 1)
    return 0.5 + float(by_user.sum()) / max(len(surplus), 1), float(deviation) or np.inf


def _same_embeddings(model, final):
    own = model.final_embeddings().detach().cpu().double()
    if own.shape != final.shape:
        return False
    tolerance = max(TOLERANCE, torch.finfo(final.dtype).eps * 10)  # wider for half precision
    return bool(((own - final.double()).abs().max() <= tolerance * final.double().square().mean().sqrt()).item())


def _is_like_random(table):
    """Whether no direction of a table stands out from random numbers (Marchenko and Pastur, 1967)."""
    squares = torch.linalg.svdvals(table.double()).square()
    largest = (1 + (table.shape[1] / len(table)) ** 0.5) ** 2 / table.shape[1]
    return bool(squares[0] <= STRUCTURE * largest * squares.sum())
