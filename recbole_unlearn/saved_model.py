"""Saving an unlearned model so that it can be served and loaded again, with nothing of what was forgotten."""

from types import SimpleNamespace

import numpy as np
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction

from recbole_unlearn import checkpoint
from recbole_unlearn.config import Config
from recbole_unlearn.errors import Diverged, UsageError
from recbole_unlearn.model import MODELS


def save_model(path, model, config, dataset):
    """Write a model with its graph, its configuration as plain data, and the tokens behind its ids.

    Users and items whose last edge was forgotten lose their token too: the file does not tell that they were there.

    Args:
        path (str): file to write.
        model (UnlearnableRecommender): on the remaining graph.
        config (Config): of the run.
        dataset (Dataset): built; gives fields and tokens.

    Raises:
        Diverged: the model's table has values that are not finite; nothing is written.
    """
    had_edges = _present(dataset)
    has_edges = model.graph.degrees().cpu().numpy() > 0
    users, items = np.split(had_edges & ~has_edges, [model.n_users])
    tokens = {"user": _tokens(dataset, dataset.uid_field, users), "item": _tokens(dataset, dataset.iid_field, items)}
    write_model(path, model, config, tokens)


def write_model(path, model, config, tokens):
    """Write a model with the tokens behind its ids; see :func:`save_model`.

    Args:
        tokens (dict): external tokens of ``user`` and ``item``, lists in the order of internal ids, None where erased.

    Raises:
        Diverged: the model's table has values that are not finite; nothing is written.
    """
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise Diverged(f"The model for '{path}' has values that are not finite, so it was not saved.")
    checkpoint.save(
        path,
        {
            "config": _settings(model, config),
            "state_dict": model.state_dict(),
            "edges": torch.stack([model.graph.users, model.graph.items]).int().cpu(),
            "user_tokens": list(tokens["user"]),
            "item_tokens": list(tokens["item"]),
        },
    )


def load_model(path, config_dict=None):
    """Rebuild a saved model without its dataset.

    Args:
        path (str): what :func:`save_model` wrote.
        config_dict (dict): settings to change.

    Returns:
        tuple: ``config``, ``model`` (in evaluation mode) and ``tokens``: a dict from ``user`` and ``item`` to the list
        of external tokens, in the order of internal ids.

    Raises:
        UsageError: no such file, or another kind of file.
    """
    try:
        state = checkpoint.load(path)
        settings = {**state["config"], **(config_dict or {})}
    except FileNotFoundError:
        raise UsageError(f"Model file '{path}' does not exist.") from None
    except Exception as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else (str(error) or type(error).__name__).splitlines()[0]
        raise UsageError(f"'{path}' is no model saved by recbole_unlearn: {reason}") from None
    if settings.get("model") != state["config"].get("model"):
        trained = state["config"]
        raise UsageError(f"'{path}' holds {trained.get('model')} on {trained.get('dataset')}, not model '{settings.get('model')}'.")
    config = Config(settings.get("model"), settings.get("dataset"), config_dict=settings)
    try:
        tokens = {"user": state["user_tokens"], "item": state["item_tokens"]}
        users, items = state["edges"].long()
        data = _stored(config, users, items, len(tokens["user"]), len(tokens["item"]))
        model = MODELS[config["model"]](config, data).to(config["device"])
        model.load_state_dict(state["state_dict"])
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"'{path}' is damaged or does not fit its settings: {' '.join(str(error).split())}") from None
    return config, model.eval(), tokens


def _settings(model, config):
    """What rebuilds this model, which may be another than the run's; settings of the request name what was forgotten."""
    settings = {key: value for key, value in config.as_dict().items() if not key.startswith("forget_")}
    return {**settings, "model": type(model).__name__, "embedding_size": model.ego_embeddings().shape[1]}


def _stored(config, users, items, n_users, n_items):
    """As much of a RecBole dataset as a model's constructor asks for."""
    uid, iid = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
    matrix = sp.coo_matrix((np.ones(len(users)), (users.numpy(), items.numpy())), shape=(n_users, n_items))
    return SimpleNamespace(
        uid_field=uid,
        iid_field=iid,
        user_num=n_users,
        item_num=n_items,
        num={uid: n_users, iid: n_items}.get,
        inter_feat=Interaction({uid: users, iid: items}),
        inter_matrix=lambda form="coo": matrix,
    )


def _present(dataset):
    """Whether each node has an interaction in the dataset, shape ``(N,)``."""
    present = np.zeros(dataset.user_num + dataset.item_num, dtype=bool)
    present[dataset.inter_feat[dataset.uid_field].numpy()] = True
    present[dataset.inter_feat[dataset.iid_field].numpy() + dataset.user_num] = True
    return present


def _tokens(dataset, field, gone):
    tokens = np.asarray(dataset.field2id_token[field], dtype=object)
    return [None if is_gone else str(token) for token, is_gone in zip(tokens, gone)]
