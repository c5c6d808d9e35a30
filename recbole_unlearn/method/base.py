"""What an unlearning method is, and how its cost is measured."""

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import psutil
import torch

from recbole_unlearn.registry import Registry

METHODS = Registry("unlearning method")


class Unlearner:
    """One unlearning method in one run.

    Implement :meth:`unlearn`, and :meth:`prepare` if there is something to do before a request comes; add a yaml
    ``properties/method/<Name>.yaml`` and register the class. The docstring cites the paper.

    Args:
        config (Config): settings, with the method's yaml.
        data (UnlearningData): the training data. ``prepare`` may look at ``train`` and validation data only,
            ``unlearn`` also at ``request`` and ``remaining``; neither at test data.
        original (UnlearnableRecommender): the trained model; never changed.
    """

    def __init__(self, config, data, original):
        self.config, self.data, self.original = config, data, original

    def prepare(self):
        """Offline work; returns the seconds that earlier runs had spent on it, if it continued theirs."""
        return 0.0

    def unlearn(self):
        """Online work: yield ``(stage, model, seconds)`` for each stage of the result.

        A later stage may go on from an earlier one: its time then includes the earlier one's. ``model`` is anything
        with RecBole's ``predict`` and ``full_sort_predict``; ``seconds`` is what an earlier, interrupted run of the
        same work had spent on it, mostly 0.
        """
        raise NotImplementedError


@dataclass
class Cost:
    """What a piece of work took: seconds, and the peak of memory in MB while it ran."""

    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    _peaks: list = field(default_factory=list, repr=False)


@contextmanager
def measured(device):
    """Measure the block's seconds and peak memory: resident memory on a CPU, allocated memory on a GPU."""
    cost, stop = Cost(), threading.Event()
    process = psutil.Process()
    peaks = [process.memory_info().rss]

    def watch():
        while not stop.wait(0.02):
            peaks.append(process.memory_info().rss)

    on_gpu = device.type == "cuda"
    watcher = threading.Thread(target=watch, daemon=True)
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
        cost.seconds += perf_counter() - start
        stop.set()
        peaks.append(process.memory_info().rss)
        peak = torch.cuda.max_memory_allocated(device) if on_gpu else max(peaks)
        cost.peak_memory_mb = peak / 2**20
