"""Which parameters of a model are its table, and which are weights besides."""

from collections.abc import Mapping

import torch

from recbole_unlearn.errors import UsageError
from recbole_unlearn.model.base import UnlearnableRecommender


def check_weights(model: UnlearnableRecommender) -> None:
    """Refuse a table that is not all trained, and weights that ``weights_beyond_table`` should name or wrongly names.

    Args:
        model: built; it stays as it is.

    Raises:
        UsageError: as above.
    """
    name, parameters = type(model).__name__, dict(model.named_parameters())
    frozen = {each: parameter for each, parameter in parameters.items() if not parameter.requires_grad}
    still = _of_table(model, frozen)
    if still:
        raise UsageError(
            f"{name} does not train {', '.join(still)} of its table (requires_grad is False), but every method would "
            "move it: let it be trained, or leave it out of ego_embeddings and add it in forward."
        )
    trained = {each: parameter for each, parameter in parameters.items() if parameter.requires_grad}
    of_table, named = _of_table(model, trained), model.named_weights()
    others = [each for each in trained if each not in of_table]
    unnamed = [each for each in others if each not in named]
    if unnamed:
        parts = tuple(dict.fromkeys([*model.weights_beyond_table, *(each.partition(".")[0] for each in unnamed)]))
        raise UsageError(
            f"{name} cannot be unlearned: it trains {', '.join(unnamed)} besides its embedding table. Name them in "
            f"the class, `weights_beyond_table = {parts!r}`: methods then revise them, or say that they do not."
        )
    for part in model.weights_beyond_table:
        if not any(f"{each}.".startswith(f"{part}.") for each in others):
            raise UsageError(f"{name}.weights_beyond_table names '{part}', but nothing besides its table is so.")


def _of_table(model: UnlearnableRecommender, parameters: Mapping[str, torch.nn.Parameter]) -> list[str]:
    """The names of the parameters that the table is made of."""
    kept = {name: parameter.requires_grad for name, parameter in parameters.items()}
    for parameter in parameters.values():
        parameter.requires_grad_(True)  # the table does not depend on a frozen one
    total, found = model.ego_embeddings().sum(), []
    if parameters and total.requires_grad:
        gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
        found = [name for name, gradient in zip(parameters, gradients) if gradient is not None]
    for name, parameter in parameters.items():
        parameter.requires_grad_(kept[name])
    return found
