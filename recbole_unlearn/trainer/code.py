"""What a training depends on besides its settings and its data: the code, the libraries and the machine."""

import platform
from functools import cache
from pathlib import Path

import recbole
import torch

from recbole_unlearn.digest import digest
from recbole_unlearn.registry import module_sources

PACKAGE = Path(__file__).parents[1]
MODULES = ("graph", "propagation", "gram", "loss", "nonnegative", "info_nce", "columns", "top", "streams")
TRAINS = ("model", "trainer", "data/sampler.py", "data/examples.py", *(f"{name}.py" for name in MODULES))


def machine(device: torch.device) -> str:
    """The GPU's name, or the CPU's architecture and the number of threads: they decide the order of sums."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {torch.get_num_threads()} thread(s)"


def training_code(device: torch.device, n_processes: int, *classes: type) -> str:
    """A digest of the code that trains, of torch's and RecBole's versions, and of the machine.

    Args:
        device: where the training runs.
        n_processes: that train together.
        classes: what it trains and what trains it; the modules of their bases count too.
    """
    sources = [source for cls in classes for source in module_sources(cls)]
    return digest(_shipped_code(), torch.__version__, recbole.__version__, machine(device), n_processes, *sources)


@cache
def _shipped_code():
    files = {file for place in TRAINS for file in (PACKAGE / place, *(PACKAGE / place).glob("*.py")) if file.is_file()}
    return digest(*(file.read_text(encoding="utf-8") for file in sorted(files)))
