"""The cost of a method: seconds and peak memory, offline and online apart."""

import ctypes
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import psutil
import torch

from recbole_unlearn.method.base import Stage, Unlearner
from recbole_unlearn.model.base import UnlearnableRecommender

SECONDS_BETWEEN_SAMPLES = 0.02  # between samples of the resident memory


@dataclass
class Cost:
    """Seconds, and the peak of memory during them in MB (2**20 bytes)."""

    seconds: float = 0.0
    peak_memory_mb: float = 0.0


@contextmanager
def measured(device: torch.device) -> Iterator[Cost]:
    """Measure a block: its seconds, and its peak of resident memory on a CPU or of allocated memory on a GPU.

    Args:
        device: where the block works.

    Yields:
        The cost; its values are set when the block ends.
    """
    cost, stop = Cost(), threading.Event()
    _give_back_memory()
    peaks = [_resident_memory()]

    def watch():
        while not stop.wait(SECONDS_BETWEEN_SAMPLES):
            peaks.append(max(peaks.pop(), _resident_memory()))

    watcher = threading.Thread(target=watch, daemon=True)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    else:
        watcher.start()
    start = perf_counter()
    try:
        yield cost
    finally:
        if on_gpu:
            torch.cuda.synchronize(device)
        cost.seconds = perf_counter() - start
        stop.set()
        if on_gpu:
            peak = torch.cuda.max_memory_allocated(device)
        else:
            watcher.join()
            peak = max(*peaks, _resident_memory())
        cost.peak_memory_mb = peak / 2**20


def _give_back_memory():
    """Return freed memory, e.g. of a training in this process, to the system: it would count as the block's."""
    gc.collect()
    if os.name == "posix":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim:  # glibc's
            trim(0)


def _resident_memory():
    """Bytes of this process and its workers."""
    process, total = psutil.Process(), 0
    for each in (process, *process.children(recursive=True)):
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:  # a worker that has just ended
            pass
    return total


def costed_stages(method: Unlearner, device: torch.device) -> Iterator[tuple[Stage, Cost]]:
    """Run a method's online work, measuring each stage.

    The work begins with the request and ends with final embeddings: the remaining graph is part of it.

    Args:
        method: prepared.
        device: where it works.

    Yields:
        Each stage and its cost; a stage's seconds include those of the stages that it continues.
    """
    stages, seconds = method.unlearn(), 0.0
    while True:
        with measured(device) as cost:
            stage = next(stages, None)
            if stage and isinstance(stage.model, UnlearnableRecommender):
                stage.model.final_embeddings()  # from here on it can be served
        if stage is None:
            return
        seconds = cost.seconds + stage.seconds_before + (seconds if stage.continues else 0.0)
        yield stage, Cost(seconds, cost.peak_memory_mb)


def earlier_run(**seconds: float) -> dict[str, str]:
    """A row's detail on the part of its seconds that an earlier run measured, because its training was loaded.

    Args:
        **seconds: of earlier runs, e.g. ``offline=12.0, online=0.0``.
    """
    parts = [f"{value:.2f} s {name}" for name, value in seconds.items() if value]
    return {"from an earlier run": ", ".join(parts)} if parts else {}
