"""Agreement of lists against sets counted one by one, and against lenskit's RBO."""

import numpy as np
import pytest

from recbole_unlearn.evaluator.lists import jaccard, list_distance, rank_biased_overlap, recall_of_list

GENERATOR = np.random.default_rng(5)
FIRST, SECOND = (np.stack([GENERATOR.permutation(30)[:8] for _ in range(50)]) for _ in range(2))


def test_agreement_is_that_of_sets():
    for row, (first, second) in enumerate(zip(FIRST.tolist(), SECOND.tolist())):
        common, union = set(first) & set(second), set(first) | set(second)
        assert jaccard(FIRST, SECOND)[row] == pytest.approx(len(common) / len(union))
        assert recall_of_list(FIRST, SECOND)[row] == pytest.approx(len(common) / 8)
        shares = [len(set(first[:d]) & set(second[:d])) / d for d in range(1, 9)]
        weights = [0.9 ** (d - 1) for d in range(1, 9)]
        expected = np.average(shares, weights=weights)
        assert rank_biased_overlap(FIRST, SECOND)[row] == pytest.approx(expected)


def test_lists_of_other_lengths_are_those_sets_too():
    lengths = GENERATOR.integers(0, 9, size=(2, 50))
    first, second = (
        np.where(np.arange(8) < length[:, None], lists, -1) for lists, length in zip((FIRST, SECOND), lengths)
    )
    agreements = jaccard(first, second), recall_of_list(first, second), rank_biased_overlap(first, second)
    for mine, theirs, *agreement in zip(first, second, *agreements):
        mine, theirs = ([item for item in row.tolist() if item >= 0] for row in (mine, theirs))
        common, depths = len({*mine} & {*theirs}), range(1, 1 + max(len(mine), len(theirs)))
        shares = [len({*mine[:d]} & {*theirs[:d]}) / d for d in depths]
        assert agreement == pytest.approx(
            [
                common / len({*mine, *theirs}) if mine or theirs else 1,
                common / len(theirs) if theirs else 1,
                np.average(shares, weights=[0.9 ** (d - 1) for d in depths]) if shares else 1,
            ]
        )


def test_the_same_lists_agree_and_lists_apart_do_not():
    for measure in (jaccard, recall_of_list, rank_biased_overlap):
        assert measure(FIRST, FIRST) == pytest.approx(np.ones(50))
        assert measure(FIRST, FIRST + 100) == pytest.approx(np.zeros(50))
    assert jaccard(FIRST, FIRST[:, ::-1]) == pytest.approx(np.ones(50))
    assert (rank_biased_overlap(FIRST, FIRST[:, ::-1]) < 1).all()


def test_distance_of_lists():
    near, far = np.full(20, 0.8), np.full(20, 0.4)
    assert list_distance(near, near, far) == 0  # as another Retrain
    assert list_distance(far, near, far) == 1  # as the original
    assert list_distance(near + 0.1, near, far) == pytest.approx(-0.25)
    noisy = 0.8 + np.tile([-0.2, 0.18], 10)
    for original in (near, noisy):  # as near as another Retrain, or not farther by more than noise
        assert np.isnan(list_distance(near + 0.1, near, original))


@pytest.mark.parametrize(
    "persistence, expected",
    [
        (0.85, [0.567720009011, 0.329888104495, 1.0, 0.028150884508]),
        (0.5, [0.411827956989, 0.123655913978, 1.0, 0.006451612903]),
    ],
)
def test_rbo_is_that_of_lenskit(persistence, expected):
    """Values of ``lenskit.metrics.reranking.rank_biased_overlap`` with ``GeometricRankWeight`` and ``n=5``, lenskit 2025.8.1.

    It wants pandas 2, so that it does not install beside the tested versions.
    """
    first = [[1, 2, 3, 4, 5], [9, 8, 7, 6, 5], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]
    second = [[2, 1, 6, 4, 7], [5, 6, 7, 8, 9], [1, 2, 3, 4, 5], [6, 7, 8, 9, 5]]
    assert rank_biased_overlap(np.array(first), np.array(second), persistence) == pytest.approx(expected, abs=1e-11)
