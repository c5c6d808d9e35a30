"""Named random streams."""

import numpy as np
import torch

from recbole_unlearn.streams import numpy_stream, stream_seed, torch_stream


def test_a_purpose_has_one_stream_and_two_purposes_have_two():
    purposes = [("attack",), ("retrain", 0), ("retrain", 1), ("retrain", "epoch", 1), ("retrain", "epoch", 2), ()]
    seeds = [stream_seed(seed, *purpose) for seed in (0, 1, 2020) for purpose in purposes]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**32 for seed in seeds)
    assert seeds == [stream_seed(seed, *purpose) for seed in (0, 1, 2020) for purpose in purposes]
    for draw in (
        lambda *name: torch.rand(9, generator=torch_stream(7, *name)),
        lambda *name: numpy_stream(7, *name).random(9),
    ):
        assert np.array_equal(draw("attack"), draw("attack"))
        assert not np.isin(np.asarray(draw("attack")), np.asarray(draw("retrain"))).any()


def test_numbers_of_a_purpose_do_not_run_together():
    assert stream_seed(1, "epoch", 10) != stream_seed(11, "epoch", 0) != stream_seed(1, 1, "epoch", 0)
