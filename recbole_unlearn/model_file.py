"""Save a model as one file to serve and load again; the file holds nothing of what was forgotten."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from recbole.data.dataset import Dataset

from recbole_unlearn.config import Config
from recbole_unlearn.data.stored import StoredDataset
from recbole_unlearn.errors import Diverged, UsageError, reason
from recbole_unlearn.evaluator.recbole_metrics import own_metrics
from recbole_unlearn.files import tensor_file, torch_file
from recbole_unlearn.model import MODELS, ExactRecommender, NetworkRecommender, Recommender

KIND = "model"
KEYS = {"config", "state_dict", "edges", "user_tokens", "item_tokens"}
MOST_LAYERS = 100  # of propagation: a file's settings may name any number


def save_model(path: str, model: Recommender, config: Config, dataset: Dataset) -> None:
    """Write a model with its graph, its configuration as plain data, and the tokens of its ids.

    Users and items whose last edge was forgotten lose their token too: the file does not reveal that they existed.

    Args:
        path: of the file, usually ending in ``.safetensors``.
        model: on the remaining graph.
        config: of the run.
        dataset: built; provides fields and tokens.

    Raises:
        Diverged: the model has values that are not finite; nothing is written.
    """
    had_edges = _present(dataset)
    has_edges = model.graph.degrees().cpu().numpy() > 0
    users, items = np.split(had_edges & ~has_edges, [model.n_users])
    tokens = {"user": _tokens(dataset, dataset.uid_field, users), "item": _tokens(dataset, dataset.iid_field, items)}
    write_model(path, model, config, tokens)


def write_model(path: str, model: Recommender, config: Config, tokens: dict[str, Any]) -> None:
    """Write a model with the given tokens of its ids; see :func:`save_model`.

    Args:
        tokens: external tokens of ``user`` and ``item``, lists in the order of internal ids, None where erased.

    Raises:
        Diverged: the model has values that are not finite; nothing is written.
    """
    if not all(tensor.isfinite().all() for tensor in model.state_dict().values()):
        raise Diverged(f"The model for '{path}' has values that are not finite, so it was not saved.")
    write_content(
        path,
        {
            "config": _settings(model, config),
            "state_dict": model.state_dict(),
            "edges": torch.stack([model.graph.users, model.graph.items]).int(),
            "user_tokens": tokens["user"],
            "item_tokens": tokens["item"],
        },
    )


def write_content(path: str, content: dict[str, Any]) -> None:
    """Write the content of a model file, as :func:`read_content` returns it."""
    tensors = {f"state_dict.{name}": weight for name, weight in content["state_dict"].items()}
    tensors |= {"edges": content["edges"], **_packed("user_tokens", content["user_tokens"])}
    tensor_file.write(path, KIND, tensors | _packed("item_tokens", content["item_tokens"]), content["config"])


def read_content(path: str) -> dict[str, Any]:
    """Read a model file and check its content, without building the model or executing anything in the file.

    Args:
        path: a file that :func:`save_model` wrote, or a ``.pth`` file of an earlier release.

    Returns:
        ``config`` (dict of plain data), ``state_dict`` (names to finite tensors), ``edges`` (int32 ids of users and
        items, shape ``(2, E)``), and ``user_tokens`` and ``item_tokens`` (lists by id, None where erased).

    Raises:
        UsageError: the file does not exist, is of another kind, or is damaged.
    """
    try:
        content = (
            _unpacked(*tensor_file.read(path, KIND)) if tensor_file.is_tensor_file(path) else torch_file.read(path)
        )
        _check(content)
    except FileNotFoundError:
        raise UsageError(f"Model file '{path}' does not exist.") from None
    except Exception as error:
        raise UsageError(f"'{path}' is not a model saved by recbole_unlearn: {reason(error)}") from None
    return content


def load_model(path: str, config_dict: Mapping[str, Any] | None = None) -> tuple[Config, Recommender, dict[str, list]]:
    """Rebuild a saved model without its dataset.

    Args:
        path: a file that :func:`save_model` wrote.
        config_dict: settings to change.

    Returns:
        ``config``, ``model`` (in evaluation mode) and ``tokens``: a dict from ``user`` and ``item`` to the list
        of external tokens, in the order of internal ids.

    Raises:
        UsageError: the file does not exist, is of another kind, is damaged, or does not fit the settings.
    """
    content = read_content(path)
    trained = content["config"]
    settings = {**trained, **(config_dict or {})}
    if settings.get("model") != trained.get("model"):
        raise UsageError(
            f"'{path}' holds {trained.get('model')} on {trained.get('dataset')}, not model '{settings.get('model')}'."
        )
    config = Config(settings.get("model"), settings.get("dataset"), config_dict=config_dict, stored=trained)
    try:
        tokens = {"user": content["user_tokens"], "item": content["item_tokens"]}
        n_users, n_items = map(len, tokens.values())
        check_sizes(config, content["state_dict"], n_users + n_items)
        users, items = content["edges"].long()
        dataset = StoredDataset(config, users, items, n_users, n_items)
        check_shapes(config, content["state_dict"], dataset)
        model = MODELS[config["model"]](config, dataset).to(config["device"])
        model.load_state_dict(content["state_dict"])
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"'{path}' is damaged or does not fit its settings: {' '.join(str(error).split())}") from None
    return config, model.eval(), tokens


def check_sizes(config: Config, weights: dict[str, torch.Tensor], n_nodes: int) -> None:
    """Refuse settings whose model would be larger than the given weights, before it is built.

    A fitted model is built without weights, and compares them with its settings itself; of a network, see
    :func:`check_shapes`.

    Raises:
        ValueError: the settings do not fit the weights.
    """
    if issubclass(MODELS[config["model"]], (ExactRecommender, NetworkRecommender)):
        return
    there = sum(weight.numel() for weight in weights.values())
    size, layers = config["embedding_size"], config["n_layers"]
    hidden = config["hidden_size_list"] or []
    own = MODELS.own([config["model"]])  # its table may be of another width
    if not own and (not isinstance(size, int) or not 0 < size * n_nodes <= there):
        raise ValueError(f"`embedding_size` {size} of {n_nodes} users and items is more than its {there} weights")
    if not own and not all(isinstance(width, int) and 0 < width <= there for width in hidden):
        raise ValueError(f"`hidden_size_list` {hidden} is not of widths that {there} weights have room for")
    if layers is not None and not (isinstance(layers, int) and 0 <= layers <= MOST_LAYERS):
        raise ValueError(f"`n_layers` {layers} is not a whole number from 0 to {MOST_LAYERS}")


def check_shapes(config: Config, weights: dict[str, torch.Tensor], dataset: Dataset) -> None:
    """Refuse settings of a network whose weights would have other shapes, before any memory is taken for them.

    Raises:
        ValueError: the settings do not fit the weights.
    """
    if not issubclass(MODELS[config["model"]], NetworkRecommender):
        return
    with torch.device("meta"):
        expected = MODELS[config["model"]](config, dataset).state_dict()
    for name, weight in expected.items():
        if name not in weights or weights[name].shape != weight.shape:
            there = tuple(weights[name].shape) if name in weights else "missing"
            raise ValueError(f"its {name} is {there}, not of shape {tuple(weight.shape)}")


def _packed(side, tokens):
    """Tokens as three tensors: their bytes one after the other, the end of each, and whether each is erased."""
    texts = [(token or "").encode("utf-8", "surrogatepass") for token in tokens]
    return {
        f"{side}.bytes": torch.from_numpy(np.frombuffer(b"".join(texts), dtype=np.uint8).copy()),
        f"{side}.ends": torch.from_numpy(np.cumsum([len(text) for text in texts], dtype=np.int64)),
        f"{side}.erased": torch.tensor([token is None for token in tokens], dtype=torch.bool),
    }


def _unpacked(tensors, config):
    """The content of a model file, from the tensors and settings of its safetensors file."""
    prefix = "state_dict."
    return {
        "config": config,
        "state_dict": {
            name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)
        },
        "edges": tensors["edges"],
        "user_tokens": _texts(tensors, "user_tokens"),
        "item_tokens": _texts(tensors, "item_tokens"),
    }


def _texts(tensors, side):
    text, ends, erased = (tensors[f"{side}.{part}"].numpy() for part in ("bytes", "ends", "erased"))
    lengths = np.diff(ends, prepend=0)
    if (
        (text.dtype, ends.dtype, erased.dtype) != (np.uint8, np.int64, bool)
        or ends.shape != erased.shape
        or ends.ndim != 1
    ):
        raise ValueError(f"its {side} have another type or shape")
    if (lengths < 0).any() or lengths.sum() != len(text) or lengths[erased].any():
        raise ValueError(f"its {side} do not end where they should")
    text, starts = text.tobytes(), ends - lengths
    decoded = (text[start:end].decode("utf-8", "surrogatepass") for start, end in zip(starts.tolist(), ends.tolist()))
    return [None if is_gone else token for token, is_gone in zip(decoded, erased.tolist())]


def _check(content):
    """Raise ValueError, KeyError or TypeError if no model can be built from a file's content."""
    if not isinstance(content, dict):
        raise ValueError("it holds no dictionary")
    missing = next((key for key in sorted(KEYS) if key not in content), None)
    if missing:
        raise KeyError(missing)
    if not isinstance(content["config"], dict):
        raise ValueError("its config is not a dictionary")
    sides = [content["user_tokens"], content["item_tokens"]]
    if not all(
        isinstance(side, list) and all(token is None or isinstance(token, str) for token in side) for side in sides
    ):
        raise ValueError("its tokens are not texts")
    weights, edges = content["state_dict"], content["edges"]
    if not isinstance(weights, dict) or not all(
        isinstance(weight, torch.Tensor) for weight in (*weights.values(), edges)
    ):
        raise ValueError("its state_dict or edges are not tensors")
    if edges.dtype != torch.int32 or edges.ndim != 2 or len(edges) != 2:
        raise ValueError(f"its edges are {edges.dtype} of shape {tuple(edges.shape)}")
    for ends, side in zip(edges, sides):
        if len(ends) and not 0 <= int(ends.min()) <= int(ends.max()) < len(side):
            raise ValueError("its edges name users or items that it does not have")
    if not all(weight.isfinite().all() for weight in weights.values()):
        raise ValueError("it has weights that are not finite")


def _settings(model, config):
    """Settings that rebuild this model, which may differ from the run's. Those of the request, which name what was
    forgotten, are left out."""
    anywhere = config.replace(nproc=1, ray_address=None)  # a machine that serves it may have neither
    settings = {key: value for key, value in anywhere.as_dict().items() if not key.startswith("forget_")}
    own = own_metrics(settings["metrics"])
    if own:  # a machine that serves it may lack them
        settings["metrics"] = [metric for metric in settings["metrics"] if metric not in own]
    return {**settings, **model.stored_settings(), "model": type(model).__name__}


def _present(dataset):
    """Whether each node has an interaction in the dataset, shape ``(N,)``."""
    present = np.zeros(dataset.user_num + dataset.item_num, dtype=bool)
    present[dataset.inter_feat[dataset.uid_field].numpy()] = True
    present[dataset.inter_feat[dataset.iid_field].numpy() + dataset.user_num] = True
    return present


def _tokens(dataset, field, gone):
    tokens = np.asarray(dataset.field2id_token[field], dtype=object)
    return [None if is_gone else str(token) for token, is_gone in zip(tokens, gone)]
