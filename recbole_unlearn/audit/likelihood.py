"""A likelihood-ratio membership attack on single units, as pure functions of scores.

``m`` reference models give each of ``X`` units scores of models that saw it and of models that did not. The attack
compares a model's score of the unit with both. References: Carlini et al., "Membership Inference Attacks From First
Principles", S&P 2022 (LiRA); Hayes et al., "Inexact Unlearning Needs More Careful Evaluations to Avoid a False Sense of
Privacy", arXiv 2403.01218 (its use on unlearned models).
"""

from dataclasses import dataclass

import numpy as np

from recbole_unlearn.evaluator.metrics import auc

FALSE_POSITIVES = 0.01  # the rate at which the true positive rate is reported
CURVE_POINTS = 200


def statistics(target: np.ndarray, references: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The attack's statistic of a model, and of reference models that never saw the same units.

    For unit ``x`` and a reference ``j`` that did not see it, all other references give the mean score ``a`` of those
    that saw ``x`` and the mean ``b`` of those that did not. The statistic of a score ``s`` is the logarithm of the
    likelihood ratio of two normal distributions, ``(s - (a + b) / 2) (a - b) / v``, with one variance ``v`` for all
    units. The difference ``a - b`` is shrunk towards its mean over units by as much as its noise explains of its
    spread. As ``j`` is left out for both, a model that is trained like ``j`` has the same distribution as ``j``.

    Args:
        target: the model's scores, shape ``(X,)``.
        references: the reference models' scores, shape ``(m, X)``, m >= 4.
        seen: whether a reference was trained with a unit, boolean of shape ``(m, X)``; each unit is in at least one
            reference and outside at least two.

    Returns:
        Statistics of the target and of the references, both of shape ``(P,)``, one for each pair of a unit and a
        reference that did not see it.
    """
    n_seen, n_unseen = seen.sum(axis=0), (~seen).sum(axis=0)
    mean_seen = np.where(seen, references, 0.0).sum(axis=0) / n_seen
    sum_unseen = np.where(seen, 0.0, references).sum(axis=0)
    centred = references - np.where(seen, mean_seen, sum_unseen / n_unseen)
    variance = (centred**2).sum() / (centred.size - 2 * centred.shape[1])
    reference, unit = np.nonzero(~seen)
    own = references[reference, unit]
    mean_unseen = (sum_unseen[unit] - own) / (n_unseen[unit] - 1)
    difference, middle = mean_seen[unit] - mean_unseen, (mean_seen[unit] + mean_unseen) / 2
    noise = variance * (1 / n_seen[unit] + 1 / (n_unseen[unit] - 1)).mean()
    spread = difference.var()
    kept = max(0.0, spread - noise) / spread if spread > 0 else 0.0
    shrunk = difference.mean() + kept * (difference - difference.mean())
    slope = shrunk / variance if variance > 0 else shrunk
    return (target[unit] - middle) * slope, (own - middle) * slope


@dataclass(frozen=True)
class Attack:
    """The success of the attack on a model.

    Args:
        auc: probability that the model's statistic of a unit exceeds that of a model that never saw it; .5 is none.
        tpr: share of the model's statistics above all but 1 % of the others.
        curve: the ROC, shape ``(2, n)``: false and true positive rates, ascending.
    """

    auc: float
    tpr: float
    curve: np.ndarray


def attack(target: np.ndarray, references: np.ndarray, seen: np.ndarray) -> Attack:
    """How well the attack recognises the units as seen by a model; arguments as for :func:`statistics`.

    Returns:
        nan rates and an empty curve if there are no units.
    """
    if len(target) == 0:
        return Attack(float("nan"), float("nan"), np.empty((2, 0), dtype=np.float32))
    positive, negative = statistics(target, references, seen)
    rates = np.unique(np.geomspace(1 / len(negative), 1, CURVE_POINTS))
    limits = np.quantile(negative, 1 - rates)
    above = 1 - np.searchsorted(np.sort(positive), limits, side="right") / len(positive)
    tpr = (positive > np.quantile(negative, 1 - FALSE_POSITIVES)).mean()
    return Attack(auc(positive, negative), float(tpr), np.stack([rates, above]).astype(np.float32))


def balanced_halves(n_models: int, n_units: int, rng: np.random.Generator) -> np.ndarray:
    """Which model is trained with which unit: each unit with a random half of the models.

    Returns:
        Boolean, shape ``(n_models, n_units)``, with ``n_models // 2`` true entries in each column.
    """
    ranks = rng.permuted(np.tile(np.arange(n_models)[:, None], (1, n_units)), axis=0)
    return ranks < n_models // 2
