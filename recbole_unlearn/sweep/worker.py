"""What a worker of a sweep does before its work."""

import gc
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from recbole_unlearn.cluster import Cluster
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS


def setup_of(cluster: Cluster, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :func:`begin` in a worker, for a run of these settings."""
    own = {"models": MODELS.own([settings["model"]]), "methods": METHODS.own(settings["unlearn_methods"])}
    return {"threads": max(1, int(cluster.resources.get("cpu", 1))), **own}


def begin(
    threads: int, models: Sequence[type] = (), methods: Sequence[type] = (), level: int = logging.WARNING
) -> None:
    """In a worker: register classes, set threads and logging, and free the memory of an earlier task.

    Args:
        threads: of torch.
        models, methods: the user's own classes, which a fresh process does not know.
        level: of logging.
    """
    MODELS.register_all(models)
    METHODS.register_all(methods)
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout, force=True)
    torch.set_num_threads(threads)
    gc.collect()  # a trial leaves cycles of references behind
