"""The cost of a block of code: seconds and peak memory."""

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

from recbole_unlearn.process_group import end_helpers

SECONDS_BETWEEN_SAMPLES = 0.02  # between samples of the resident memory
_OPEN: list["Cost"] = []  # of the blocks that run on a GPU: an inner one resets the peak that an outer one reads


@dataclass(eq=False)
class Cost:
    """Seconds, and the peak of memory during them in MB (2**20 bytes)."""

    seconds: float = 0.0
    peak_memory_mb: float = 0.0


@contextmanager
def measured(device: torch.device, within: bool = False) -> Iterator[Cost]:
    """Measure a block: its seconds, and its peak of resident memory on a CPU or of allocated memory on a GPU.

    Args:
        device: where the block works.
        within: whether this is a part of a larger block that is measured, too. It then counts the memory of this
            process without its workers, and first gives none back, which takes time.

    Yields:
        The cost; its values are set when the block ends.
    """
    cost, stop = Cost(), threading.Event()
    if not within:
        end_helpers()
        give_back_memory()
    peaks = [_resident_memory(within)]

    def watch():
        while not stop.wait(SECONDS_BETWEEN_SAMPLES):
            peaks.append(max(peaks.pop(), _resident_memory(within)))

    watcher = threading.Thread(target=watch, daemon=True)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize(device)
        for outer in _OPEN:
            outer.peak_memory_mb = max(outer.peak_memory_mb, torch.cuda.max_memory_allocated(device) / 2**20)
        torch.cuda.reset_peak_memory_stats(device)
        _OPEN.append(cost)
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
            _OPEN.remove(cost)
            peak = torch.cuda.max_memory_allocated(device)
        else:
            watcher.join()
            peak = max(*peaks, _resident_memory(within))
        cost.peak_memory_mb = max(cost.peak_memory_mb, peak / 2**20)


def give_back_memory() -> None:
    """Return freed memory, e.g. of a training in this process, to the system: it would count as the next block's."""
    gc.collect()
    if os.name == "posix":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim:  # glibc's
            trim(0)


def _resident_memory(alone):
    """Bytes of this process and, unless it counts alone, of its workers."""
    process, total = psutil.Process(), 0
    for each in (process, *(() if alone else process.children(recursive=True))):
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:  # a worker that has just ended
            pass
    return total
