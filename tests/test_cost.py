"""Costs: what counts as a block's."""

import ctypes

import numpy as np
import psutil
import pytest
import torch

from recbole_unlearn import run_unlearn
from recbole_unlearn.cost import measured
from recbole_unlearn.evaluator.stages import measured_elsewhere

CPU = torch.device("cpu")


def test_a_block_has_its_own_memory():
    with measured(CPU) as nothing:
        pass
    with measured(CPU) as cost:
        held = np.ones(2**25)  # 256 MB
    assert held[-1] and nothing.peak_memory_mb + 200 < cost.peak_memory_mb


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="no glibc")
def test_what_was_freed_before_a_block_is_not_its_own():
    blocks = [np.ones(2**13) for _ in range(2**12)]  # 256 MB in pieces that malloc keeps
    full = psutil.Process().memory_info().rss / 2**20
    del blocks[:-1]  # the last one holds the rest in place
    with measured(CPU) as cost:
        pass
    assert cost.peak_memory_mb < full - 200


def test_a_row_says_which_of_its_seconds_an_measured_elsewhere_measured(settings):
    first, second = (
        run_unlearn("LightGCN", "tiny", config_dict={**settings, "unlearn_methods": "Retrain"}, saved=False)
        for _ in range(2)
    )
    assert not any("details" in row for row in first["results"])
    for row in second["results"]:
        kind = "offline" if row["method"] == "original" else "online"
        assert row["details"]["from an earlier run or another process"].endswith(f" s {kind}")
        assert (
            row[f"{kind}_seconds"] > float(row["details"]["from an earlier run or another process"].split()[0]) - 0.01
        )
    assert measured_elsewhere(offline=0.0, online=0.0) == {}
