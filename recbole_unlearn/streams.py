"""Named random streams: what shares a stream shares luck.

A run has one seed and many purposes. Each purpose (the attack, each training, the encoder, the pairs of a metric) draws
from a stream of its own, so that no result is lucky because another one drew the same numbers.

One draw has no stream here: the split of the data begins with RecBole's own ``init_seed(seed)``, so that it is the
split of a checkpoint of RecBole's with that seed. Whatever draws after it begins a stream first.
"""

from typing import Any
from zlib import crc32

import numpy as np
import torch
from recbole.utils import init_seed


def stream_seed(seed: int, *purpose: str | int) -> int:
    """The seed of one purpose's stream.

    Args:
        seed: the run's seed, >= 0.
        purpose: its name, e.g. ``"retrain", "epoch", 3``; texts and whole numbers >= 0.

    Returns:
        A number below 2**32, as numpy's and torch's global generators take it.
    """
    key = [crc32(part.encode()) if isinstance(part, str) else part for part in purpose]
    return int(np.random.SeedSequence([seed, *key]).generate_state(1)[0])


def torch_stream(seed: int, *purpose: str | int) -> torch.Generator:
    """A torch generator of one purpose, on the CPU; arguments as for :func:`stream_seed`."""
    return torch.Generator().manual_seed(stream_seed(seed, *purpose))


def numpy_stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """A numpy generator of one purpose; arguments as for :func:`stream_seed`."""
    return np.random.default_rng(stream_seed(seed, *purpose))


def begin_stream(config: Any, *purpose: str | int) -> None:
    """Let the global generators of Python, numpy and torch, which RecBole's code draws from, begin a purpose's stream.

    Args:
        config (Config): settings with ``seed`` and ``reproducibility``.
        purpose: as for :func:`stream_seed`.
    """
    init_seed(stream_seed(config["seed"], *purpose), config["reproducibility"])
