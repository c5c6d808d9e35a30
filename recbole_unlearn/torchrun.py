"""Processes that torchrun started: the first leads a run, and the others work on its trainings."""

import os
import pickle
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from itertools import count
from typing import Any

import torch.distributed as dist

LONGEST = timedelta(days=7)  # that the first may work alone, on evaluation or on a method that trains nothing


def torchrun_size() -> int:
    """The number of processes that torchrun started, or 0 without it."""
    return int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 0


def waits_for_torchrun() -> bool:
    """Whether this process is one of torchrun's, but not the first."""
    return torchrun_size() > 1 and os.environ["RANK"] != "0"


def serve_torchrun() -> None:
    """What a process other than the first does: it works on each training of the first, until the first ends."""
    store, rank = _store(), int(os.environ["RANK"])
    for number in count():
        store.wait([f"training {number} of {rank}"], LONGEST)
        call = pickle.loads(store.get(f"training {number} of {rank}"))
        if call is None:
            return
        function, arguments = call
        function(*arguments)


def end_torchrun() -> None:
    """Let the processes in :func:`serve_torchrun` return."""
    for rank in range(1, torchrun_size()):
        _publish(rank, None)


def submit_to_torchrun(function: Callable[..., Any], *arguments: Any) -> Future:
    """Let another process call a function, whose last argument is its rank. An error there ends all of them."""
    _publish(arguments[-1], (function, arguments))
    return Future()


def _publish(rank, call):
    store = _store()
    number = store.add(f"trainings of {rank}", 1) - 1
    store.set(f"training {number} of {rank}", pickle.dumps(call))


def _store():
    """The store that torchrun keeps for its processes."""
    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    prefix = f"recbole_unlearn {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    return dist.PrefixStore(prefix, dist.TCPStore(*address, is_master=False))
