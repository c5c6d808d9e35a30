"""Forgetting metrics as pure functions of scores; the probability of a pair is ``p = sigmoid(score)``."""

import warnings
from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import DegenerateDataWarning, bootstrap

ROUNDING = 1e-6  # of scores, relative to their mean size
BLOCK = 2**23  # users resampled at a time: 64 MiB of their values


def mi_bf(before: np.ndarray, after: np.ndarray) -> float:
    """MI-BF: mean probability of the forgotten pairs before unlearning over that after; above 1 is forgetting.

    Args:
        before, after: scores of the forgotten pairs, shape ``(F,)`` each.

    Returns:
        NaN if there are no forgotten pairs.

    >>> mi_bf(np.array([0.0, 0.0]), np.array([0.0, 0.0]))
    1.0
    """
    return _ratio(before, after)


def mi_ng(negative: np.ndarray, after: np.ndarray) -> float:
    """MI-NG: mean probability of pairs never interacted with over that of the forgotten pairs, both after unlearning.

    Args:
        negative: scores of the negative pairs, shape ``(M,)``.
        after: scores of the forgotten pairs, shape ``(F,)``.

    Returns:
        NaN if either set is empty.
    """
    return _ratio(negative, after)


def mean_probability(scores: np.ndarray) -> float:
    """The mean probability of pairs, from their scores; NaN if there are none."""
    return float(expit(scores.astype(np.float64)).mean()) if len(scores) else float("nan")


def logistic_curve(positives: np.ndarray, negatives: np.ndarray) -> tuple[float, float]:
    """The slope and the offset with which ``sigmoid(slope * score + offset)`` is the probability of a pair.

    Logistic regression on the score, both sets with the same weight in all. Its targets are not quite 1 and 0, so that
    sets that do not overlap have a finite slope. Reference: Platt, "Probabilistic Outputs for Support Vector Machines
    and Comparisons to Regularized Likelihood Methods", 1999, with equal priors.

    Args:
        positives, negatives: scores, shapes ``(A,)`` and ``(B,)``.

    Returns:
        Slope > 0 and offset; 1 and 0 if a set is empty or the positives score no higher on average.
    """
    if not len(positives) or not len(negatives) or positives.mean() <= negatives.mean():
        return 1.0, 0.0
    sizes = np.array([len(positives), len(negatives)])
    scores = np.concatenate([positives, negatives]).astype(np.float64)
    centre, scale = scores.mean(), scores.std()
    values = (scores - centre) / scale
    targets = np.repeat([(sizes[0] + 1) / (sizes[0] + 2), 1 / (sizes[1] + 2)], sizes)
    weights = np.repeat(1 / (2 * sizes), sizes)

    def loss(parameters):
        logits = parameters[0] * values + parameters[1]
        errors = weights * (expit(logits) - targets)
        return weights @ (np.logaddexp(0, logits) - targets * logits), np.array([errors @ values, errors.sum()])

    slope, offset = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS", options={"gtol": 1e-10}).x
    return float(slope / scale), float(offset - slope * centre / scale)


def _ratio(numerator, denominator):
    return float(np.divide(mean_probability(numerator), mean_probability(denominator)))


def auc(
    first: np.ndarray,
    second: np.ndarray,
    first_weights: np.ndarray | None = None,
    second_weights: np.ndarray | None = None,
) -> float:
    """Probability that a score of the first set exceeds one of the second, ties counted half; 0.5 is no difference.

    Args:
        first, second: scores, shapes ``(A,)`` and ``(B,)``.
        first_weights, second_weights: weight of each score, >= 0; default all alike.

    Returns:
        NaN if a set is empty or has no weight, or a score is nan. Cost ``O((A + B) log B)``.

    >>> auc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    first, second = np.asarray(first), np.asarray(second)
    w1 = np.ones(len(first)) if first_weights is None else np.asarray(first_weights, dtype=np.float64)
    w2 = np.ones(len(second)) if second_weights is None else np.asarray(second_weights, dtype=np.float64)
    if w1.sum() == 0 or w2.sum() == 0 or np.isnan(first).any() or np.isnan(second).any():
        return float("nan")
    order = np.argsort(second)
    ascending, weight = second[order], np.concatenate([[0.0], np.cumsum(w2[order])])
    below, up_to = (weight[np.searchsorted(ascending, first, side)] for side in ("left", "right"))
    return float((w1 * (below + up_to)).sum() / (2 * w1.sum() * w2.sum()))


def matching_weights(target: np.ndarray, other: np.ndarray, n_bins: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Weights that give two sets of pairs the same distribution of item popularity.

    The bins' edges are quantiles of the target's popularity. A member of ``other`` weighs the number of target members
    over the number of ``other``'s members in its bin. A target member in a bin that ``other`` lacks weighs 0.

    Args:
        target, other: item popularity of each pair, shapes ``(A,)`` and ``(B,)``.
        n_bins: quantile bins.

    Returns:
        Weights of the target and of the other, shapes ``(A,)`` and ``(B,)``.
    """
    if len(target) == 0 or len(other) == 0:
        return np.zeros(len(target)), np.zeros(len(other))
    edges = np.unique(np.quantile(target, np.linspace(0, 1, n_bins + 1)[1:-1]))
    target_bin, other_bin = np.digitize(target, edges), np.digitize(other, edges)
    target_count = np.bincount(target_bin, minlength=len(edges) + 1)
    other_count = np.bincount(other_bin, minlength=len(edges) + 1)
    both = (target_count > 0) & (other_count > 0)
    per_member = np.where(both, target_count / np.maximum(other_count, 1), 0.0)
    return both[target_bin].astype(np.float64), per_member[other_bin]


def matched_weights(
    items: Mapping[str, np.ndarray], popularity: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Weights for :func:`matched_aucs`: of forgotten pairs and of others, matched on item popularity.

    Args:
        items: name of a set of pairs (``forget``, ``negative``, ``test``) to the items of the pairs.
        popularity: of each item, shape ``(n_items,)``.
    """
    of = {name: popularity[ids] for name, ids in items.items()}
    return {name: matching_weights(of["forget"], of[name]) for name in ("negative", "test")}


def matched_aucs(
    scores: Mapping[str, np.ndarray], weights: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> dict[str, float]:
    """How often a forgotten pair scores above one never interacted with (AUC_FN), or a held-out one (AUC_FT).

    Args:
        scores: name of a set of pairs to its scores.
        weights: of :func:`matched_weights`.
    """
    others = {"AUC_FN": "negative", "AUC_FT": "test"}
    return {name: auc(scores["forget"], scores[other], *weights[other]) for name, other in others.items()}


def shares_beyond(after: np.ndarray, retrains: np.ndarray) -> tuple[float, float]:
    """The shares of forgotten pairs that score below, and above, anything another Retrain is likely to give them.

    A pair is beyond if it is more than two standard deviations of a further Retrain's score from the mean of the
    Retrains given. One standard deviation serves all pairs: it is pooled, as a pair has few Retrains. A further Retrain
    has 2.3 % of its pairs on either side if scores are normal. If Retrains do not differ, rounding is not beyond.

    Args:
        after: scores of the forgotten pairs after unlearning, shape ``(F,)``.
        retrains: their scores by ``m >= 2`` Retrains with independent random streams, shape ``(m, F)``.

    Returns:
        The shares below (over-forgetting) and above (under-forgetting); nan without pairs or with one Retrain.
    """
    if len(after) == 0 or len(retrains) < 2:
        return float("nan"), float("nan")
    mean, variance = retrains.mean(axis=0), retrains.var(axis=0, ddof=1).mean()
    far = max(2 * np.sqrt(variance * (1 + 1 / len(retrains))), ROUNDING * np.abs(retrains).mean())
    return float((after < mean - far).mean()), float((after > mean + far).mean())


def ratio_interval(
    values: np.ndarray, reference: np.ndarray, rng: np.random.Generator, level: float = 0.95
) -> tuple[float, float]:
    """The paired bootstrap interval over users of ``mean(values) / mean(reference)``.

    Args:
        values, reference: a ranking metric of the same users with two models, shape ``(U,)`` each.
        rng: of the resampling.
        level: coverage.

    Returns:
        Lower and upper limit (percentiles of 1,000 resamples of the users); nan for fewer than two users, or if a
        resample's reference has no hits, so that a share of the resamples has no ratio.
    """
    if len(values) < 2 or not np.any(reference):
        return float("nan"), float("nan")
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # which nan says
        limits = bootstrap(
            (values, reference),
            lambda value, base, axis=-1: value.mean(axis=axis) / base.mean(axis=axis),
            n_resamples=1000,
            batch=max(1, BLOCK // len(values)),
            paired=True,
            vectorized=True,
            confidence_level=level,
            method="percentile",
            rng=rng,
        ).confidence_interval
    return float(limits.low), float(limits.high)
