"""Write and read the encoder of a version as a file."""

import re
from typing import Any

import torch

from recbole_unlearn.config import Config
from recbole_unlearn.encoder.calibrated import CalibratedEncoder, closing_settings
from recbole_unlearn.errors import UsageError, reason
from recbole_unlearn.files import tensor_file, torch_file

KIND = "encoder"
ARRAYS = ("gain", "cost", "own")  # the last one only of a model whose readout mixes columns
SIZES = re.compile(r"^(?:num_leaves|num_cat|max_feature_idx|num_class|num_tree_per_iteration)=(\d+)", re.MULTILINE)


def write(path: str, encoder: CalibratedEncoder) -> None:
    """Write an encoder; the file is whole or absent."""
    plain = encoder.to_plain()
    booster = tensor_file.text_tensor(plain["scores"]["booster"])
    arrays = {name: plain[name] for name in ARRAYS if name in plain}
    tensor_file.write(path, KIND, {**arrays, "booster": booster}, {})


def read(path: str, n_nodes: int, config: Config) -> CalibratedEncoder | None:
    """Read the encoder of a model; ``None`` if an earlier release wrote it, whose features are no longer computed.

    Args:
        path: of the file.
        n_nodes: number of the model's users and items.
        config: of the model; names the device.

    Raises:
        UsageError: the file does not exist, is of another kind, is damaged, or is of another model.
    """
    plain = read_plain(path)
    if len(plain["gain"]) != n_nodes:
        raise UsageError(
            f"'{path}' is no encoder of its model: it is of {len(plain['gain'])} users and items, not of {n_nodes}."
        )
    if "booster" not in plain["scores"]:
        return None
    try:
        tensors = {name: plain[name].to(config["device"]) for name in ARRAYS if name in plain}
        return CalibratedEncoder.from_plain({**plain, **tensors}, **closing_settings(config))
    except Exception as error:  # LightGBM raises many types
        raise UsageError(f"'{path}' is no encoder of a store: {reason(error)}") from None


def read_plain(path: str) -> dict[str, Any]:
    """Read an encoder's file, or a ``.pth`` file of an earlier release, without building the encoder.

    Returns:
        What ``CalibratedEncoder.to_plain`` gives, or gave, with tensors on the CPU.

    Raises:
        UsageError: the file does not exist, is of another kind, or is damaged.
    """
    try:
        plain = _unpacked(*tensor_file.read(path, KIND)) if tensor_file.is_tensor_file(path) else torch_file.read(path)
        _check(plain)
    except Exception as error:  # torch and pickle raise many types
        raise UsageError(f"'{path}' is no encoder of a store: {reason(error)}") from None
    return plain


def texts_of(plain: dict[str, Any]) -> list[str]:
    """The regressions in what :func:`read_plain` returns, as text: one, or two of an earlier release."""
    scores = plain["scores"]
    return [scores["booster"]] if "booster" in scores else scores["boosters"]


def _unpacked(tensors, settings):
    names = sorted(name for name in tensors if name.startswith("booster"))
    texts = [tensor_file.text_of(tensors[name]) for name in names]
    scores = {"booster": texts[0]} if names == ["booster"] else {"boosters": texts, "spread": settings["spread"]}
    return {**{name: tensors[name] for name in ARRAYS if name in tensors}, "scores": scores}


def _check(plain):
    """Raise ValueError, KeyError or TypeError if no encoder can be built from the content."""
    gain, cost, texts = plain["gain"], plain["cost"], texts_of(plain)
    if not all(isinstance(each, torch.Tensor) and each.ndim == 1 and each.isfinite().all() for each in (gain, cost)):
        raise ValueError("its gain or cost are no finite numbers")
    own = plain.get("own", torch.zeros(1, 1))
    if own.ndim != 2 or not own.isfinite().all():
        raise ValueError("its map of rows is no table of finite numbers")
    earlier = "boosters" in plain["scores"]
    if len(gain) != len(cost) or (earlier and (len(texts) != 2 or not isinstance(plain["scores"]["spread"], float))):
        raise ValueError("its parts do not fit each other")
    for text in texts:  # LightGBM allocates the sizes in the text
        if any(len(size) > 9 or int(size) > len(text) for size in SIZES.findall(text)):
            raise ValueError("its regression says that it is larger than its text")
