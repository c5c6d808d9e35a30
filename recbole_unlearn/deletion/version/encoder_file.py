"""Write and read the encoder of a version as a file."""

import re
from typing import Any

import torch

from recbole_unlearn.config import Config
from recbole_unlearn.encoder.calibrated import CalibratedEncoder, closing_settings
from recbole_unlearn.errors import UsageError, reason
from recbole_unlearn.files import tensor_file, torch_file

KIND = "encoder"
SIZES = re.compile(r"^(?:num_leaves|num_cat|max_feature_idx|num_class|num_tree_per_iteration)=(\d+)", re.MULTILINE)


def write(path: str, encoder: CalibratedEncoder) -> None:
    """Write an encoder; the file is whole or absent."""
    plain = encoder.to_plain()
    tensors, scores = {"gain": plain["gain"], "cost": plain["cost"]}, plain["scores"]
    tensors |= {f"booster.{place}": tensor_file.text_tensor(text) for place, text in enumerate(scores["boosters"])}
    tensor_file.write(path, KIND, tensors, {"spread": scores["spread"]})


def read(path: str, n_nodes: int, config: Config) -> CalibratedEncoder:
    """Read the encoder of a model.

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
    try:
        tensors = {name: plain[name].to(config["device"]) for name in ("gain", "cost")}
        return CalibratedEncoder.from_plain({**plain, **tensors}, **closing_settings(config))
    except Exception as error:  # LightGBM raises many types
        raise UsageError(f"'{path}' is no encoder of a store: {reason(error)}") from None


def read_plain(path: str) -> dict[str, Any]:
    """Read an encoder's file, or a ``.pth`` file of an earlier release, without building the encoder.

    Returns:
        What ``CalibratedEncoder.to_plain`` gives, with tensors on the CPU.

    Raises:
        UsageError: the file does not exist, is of another kind, or is damaged.
    """
    try:
        plain = _unpacked(*tensor_file.read(path, KIND)) if tensor_file.is_tensor_file(path) else torch_file.read(path)
        _check(plain)
    except Exception as error:  # torch and pickle raise many types
        raise UsageError(f"'{path}' is no encoder of a store: {reason(error)}") from None
    return plain


def _unpacked(tensors, settings):
    boosters = [tensor_file.text_of(tensors[f"booster.{place}"]) for place in range(len(tensors) - 2)]
    scores = {"boosters": boosters, "spread": settings["spread"]}
    return {"gain": tensors["gain"], "cost": tensors["cost"], "scores": scores}


def _check(plain):
    """Raise ValueError, KeyError or TypeError if no encoder can be built from the content."""
    gain, cost, boosters = plain["gain"], plain["cost"], plain["scores"]["boosters"]
    if not all(isinstance(each, torch.Tensor) and each.ndim == 1 and each.isfinite().all() for each in (gain, cost)):
        raise ValueError("its gain or cost are no finite numbers")
    if len(gain) != len(cost) or len(boosters) != 2 or not isinstance(plain["scores"]["spread"], float):
        raise ValueError("its parts do not fit each other")
    for text in boosters:  # LightGBM allocates the sizes in the text
        if any(len(size) > 9 or int(size) > len(text) for size in SIZES.findall(text)):
            raise ValueError("its regression says that it is larger than its text")
