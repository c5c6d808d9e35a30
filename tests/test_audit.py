"""The likelihood-ratio attack: on scores whose answer is known, and as a part of a run."""

from pathlib import Path

import numpy as np
import pytest

from recbole_unlearn.audit.likelihood import attack, balanced_halves, statistics
from recbole_unlearn.evaluator.metrics import auc
from recbole_unlearn.quick_start import run_unlearn
from recbole_unlearn.testing import tiny_settings

RATES = [f"audit_{name}_{rate}" for name in ("forgotten", "retained") for rate in ("auc", "tpr")]
AUDITED = {"unlearn_audit_models": 4, "unlearn_methods": ["Retrain", "DropEdges"]}


def simulated(shift, n_models=16, n_units=2000, seed=0):
    """Scores of reference models that rise by ``shift`` for units that they saw, and a maker of other models' scores."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=n_units)
    seen = balanced_halves(n_models, n_units, rng)
    references = level + shift * seen + rng.normal(size=seen.shape)
    return references, seen, lambda known: level + shift * known + rng.normal(size=n_units)


def test_each_unit_is_in_half_of_the_models():
    halves = balanced_halves(8, 500, np.random.default_rng(0))
    assert (halves.sum(axis=0) == 4).all()
    assert 0.4 < halves.mean(axis=1).min() and len(np.unique(halves.T, axis=0)) > 50


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_a_model_that_never_saw_the_units_is_not_recognised_and_one_that_did_is(shift):
    references, seen, model = simulated(shift)
    assert attack(model(False), references, seen).auc == pytest.approx(0.5, abs=0.02)
    # Two normals apart by the shift, with the noise of the estimated level taken off.
    recognised = attack(model(True), references, seen)
    best = {0.0: 0.5, 1.0: 0.76, 3.0: 0.983}[shift]
    assert best - 0.06 < recognised.auc < best + 0.03
    assert recognised.tpr > attack(model(False), references, seen).tpr or shift == 0


def test_the_statistic_is_a_likelihood_ratio_with_each_reference_left_out():
    references, seen, model = simulated(2.0, n_models=6, n_units=5)
    target = model(True)
    positive, negative = statistics(target, references, seen)
    pairs = [(j, x) for j in range(6) for x in range(5) if not seen[j, x]]
    residuals = []
    for x in range(5):
        for group in (references[seen[:, x], x], references[~seen[:, x], x]):
            residuals.append(group - group.mean())
    variance = (np.concatenate(residuals) ** 2).sum() / (30 - 10)
    middle, difference = np.empty(len(pairs)), np.empty(len(pairs))
    for row, (j, x) in enumerate(pairs):
        others = [k for k in range(6) if k != j and not seen[k, x]]
        a, b = references[seen[:, x], x].mean(), references[others, x].mean()
        middle[row], difference[row] = (a + b) / 2, a - b
    noise = variance * (1 / 3 + 1 / 2)
    kept = max(0.0, difference.var() - noise) / difference.var()
    slope = (difference.mean() + kept * (difference - difference.mean())) / variance
    units = np.array([x for _, x in pairs])
    assert positive == pytest.approx((target[units] - middle) * slope)
    assert negative == pytest.approx((np.array([references[pair] for pair in pairs]) - middle) * slope)


def test_the_curve_is_that_of_the_rates():
    references, seen, model = simulated(1.0)
    result = attack(model(True), references, seen)
    rates, above = result.curve
    assert (np.diff(rates) > 0).all() and (np.diff(above) >= 0).all() and rates[-1] == 1
    assert np.trapezoid(above, rates) == pytest.approx(result.auc, abs=0.02)
    positive, negative = statistics(model(True), references, seen)
    assert np.isfinite(auc(positive, negative))


def test_no_units_have_no_rates():
    """If everything is forgotten, nothing is retained to ask about."""
    nothing = attack(np.empty(0), np.empty((4, 0)), np.empty((4, 0), dtype=bool))
    assert np.isnan(nothing.auc) and np.isnan(nothing.tpr) and nothing.curve.shape == (2, 0)


@pytest.mark.parametrize("kind", ["random", "user", "spam"])
def test_every_row_of_a_run_is_audited(kind, data_path, tmp_path):
    settings = {**tiny_settings(data_path, str(tmp_path)), **AUDITED, "forget_type": kind}
    first = run_unlearn("LightGCN", "tiny", None, settings, saved=False)
    files = {path: path.stat().st_mtime_ns for path in Path(tmp_path).glob("audit-*.pth")}
    assert len(files) == 4
    for row in first["results"]:
        assert all(0 <= row[rate] <= 1 for rate in RATES), row
    again = run_unlearn("LightGCN", "tiny", None, settings, saved=False)
    assert {path: path.stat().st_mtime_ns for path in files} == files, "reference models are trained once"
    assert [[row[rate] for rate in RATES] for row in again["results"]] == [
        [row[rate] for rate in RATES] for row in first["results"]
    ]
