"""Fixed points by Anderson's acceleration of depth one."""

import numpy as np
import torch

from recbole_unlearn.solver import accelerated


def fixed_point(step, x, iterations):
    before = None
    for _ in range(iterations):
        before, x = (x, step(x)), accelerated(x, step(x), before)
    return x


def reference(step, x, iterations):
    """The same in float64, by a least-squares problem for the share of the last change."""
    points, steps = [x], [step(x)]
    for number in range(iterations):
        x, f = points[-1], steps[-1]
        following = x + f
        if number:
            change = (f - steps[-2]).ravel()[:, None]
            share = np.clip(np.linalg.lstsq(change, f.ravel(), rcond=None)[0][0], -1, 1)
            following = following - share * (x - points[-2] + f - steps[-2])
        points.append(following)
        steps.append(step(following))
    return points[-1]


def problem():
    """A step towards a point that goes 2.4 times too far along a few directions."""
    generator = np.random.default_rng(0)
    basis = np.linalg.qr(generator.normal(size=(12, 12)))[0]
    lengths = np.r_[np.full(3, 2.4), np.full(9, 1.0)]
    goal, matrix = generator.normal(size=12), (basis * lengths) @ basis.T
    return goal, lambda x: (goal - x.reshape(12)) @ matrix


def test_iterates_are_those_of_the_least_squares_problem():
    goal, step = problem()
    for iterations in (1, 2, 3, 5):
        found = fixed_point(lambda x: torch.from_numpy(step(x.numpy())), torch.zeros(12).double(), iterations)
        np.testing.assert_allclose(found, reference(step, np.zeros(12), iterations), rtol=1e-9)


def test_it_comes_near_where_plain_iteration_swings_away():
    goal, step = problem()
    plain = np.zeros(12)
    for _ in range(10):
        plain = plain + step(plain)
    found = fixed_point(lambda x: torch.from_numpy(step(x.numpy())), torch.zeros(12).double(), 10).numpy()
    assert np.linalg.norm(plain - goal) > 10 and np.linalg.norm(found - goal) < 1e-6


def test_two_steps_that_are_nearly_equal_lead_nowhere_far():
    step = 1e-6 * torch.ones(4)
    following = accelerated(torch.ones(4), step * (1 + 1e-7), (torch.ones(4) - step, step))
    assert (following - 1).abs().max() < 1e-5


def test_nothing_to_step_towards_changes_nothing():
    x = torch.ones(3, 2)
    assert torch.equal(fixed_point(torch.zeros_like, x, 4), x)
