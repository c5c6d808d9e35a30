"""Agreement of two models' recommendation lists, user by user, as pure functions.

A list array has shape ``(U, K)``: the item ids of each user's top K, best first, distinct within a row, with -1 behind
the last item of a list that is shorter. Both arrays of a comparison have the same users in the same order. Two empty
lists agree.
"""

import numpy as np


def jaccard(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Jaccard@K of each user: common items over all items of both lists.

    Returns:
        Shape ``(U,)``, in [0, 1]; 1 means the same items in any order.

    >>> jaccard(np.array([[1, 2]]), np.array([[2, 3]])).round(3).tolist()
    [0.333]
    """
    common = _overlap(first, second)[:, -1]
    return _share(common, _lengths(first) + _lengths(second) - common)


def recall_of_list(lists: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The share of each user's reference list that the other list has, shape ``(U,)``.

    >>> recall_of_list(np.array([[1, 2]]), np.array([[2, 3]])).tolist()
    [0.5]
    """
    return _share(_overlap(lists, reference)[:, -1], _lengths(reference))


def rank_biased_overlap(first: np.ndarray, second: np.ndarray, persistence: float = 0.9) -> np.ndarray:
    """RBO of each user: the mean over depths ``d`` of the share of items that both top-``d`` lists have.

    Depth ``d`` weighs ``persistence ** (d - 1)``, and the weights of all depths, to the end of the longer list, sum to
    1. Reference: Webber, Moffat and Zobel, "A similarity measure for indefinite rankings", TOIS 2010, cut off there.

    Returns:
        Shape ``(U,)``, in [0, 1]; 1 means the same lists.

    >>> rank_biased_overlap(np.array([[1, 2]]), np.array([[2, 1]]), persistence=0.5).round(3).tolist()
    [0.333]
    """
    depths = np.arange(1, first.shape[1] + 1)
    weights = persistence ** (depths - 1.0) * (depths <= np.maximum(_lengths(first), _lengths(second))[:, None])
    return _share((_overlap(first, second) / depths * weights).sum(axis=1), weights.sum(axis=1))


def _lengths(lists):
    return (lists >= 0).sum(axis=1)


def _share(part, whole):
    """The quotient of each user, 1 where there is nothing to share."""
    return np.divide(part, whole, out=np.ones(len(whole)), where=whole > 0)


def _overlap(first, second):
    """The number of common items of both lists' first ``d``, for ``d`` = 1..K; shape ``(U, K)``."""
    first, second = first + 1, second + 1  # no item is 0
    order = np.argsort(second, axis=1, kind="stable")
    ordered, offset = np.take_along_axis(second, order, axis=1), int(max(first.max(), second.max())) + 1
    rows = np.arange(len(first))[:, None]
    place = np.searchsorted((ordered + rows * offset).ravel(), (first + rows * offset).ravel()).reshape(first.shape)
    place = np.minimum(place - rows * second.shape[1], second.shape[1] - 1)
    found = (np.take_along_axis(ordered, place, axis=1) == first) & (first > 0)
    rank = np.take_along_axis(order, place, axis=1)
    depth = np.maximum(rank, np.arange(first.shape[1]))[found]  # both lists have the item from this depth on
    met = np.zeros((len(first), max(first.shape[1], second.shape[1])), dtype=np.int64)
    np.add.at(met, (np.broadcast_to(rows, first.shape)[found], depth), 1)
    return np.cumsum(met, axis=1)


def list_distance(of_row: np.ndarray, of_floor: np.ndarray, of_original: np.ndarray) -> float:
    """D: how far a row's lists are from Retrain's, between the noise of training (0) and doing nothing (1).

    ``D = (d(U, R) - d(R, R')) / (d(0, R) - d(R, R'))`` with ``d = 1 - mean Jaccard@K``.

    Args:
        of_row: Jaccard@K of the unlearned model's lists with Retrain's, of each user, shape ``(U,)``.
        of_floor: that of another Retrain's.
        of_original: that of the original's.

    Returns:
        Below 0 if the row is nearer to Retrain than another Retrain is. nan if the original is not farther from Retrain
        than another Retrain by two standard errors over users: lists then show nothing.

    >>> round(list_distance(np.full(9, 0.7), np.full(9, 0.9), np.full(9, 0.5)), 3)
    0.5
    """
    room = of_floor - of_original
    noise = 2 * room.std() / np.sqrt(len(room))
    return float((of_floor - of_row).mean() / room.mean()) if room.mean() > noise else float("nan")
