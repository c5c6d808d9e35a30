"""The audit of a run: reference models once, then the attack on the model of every row."""

from typing import Any

import numpy as np
import torch

from recbole_unlearn.audit.likelihood import attack, balanced_halves
from recbole_unlearn.audit.references import reference_scores, unit_scores
from recbole_unlearn.audit.units import Units, retained_units
from recbole_unlearn.streams import numpy_stream, torch_stream


class Audit:
    """Asks of any model whether an attacker recognises the forgotten units, and retained ones, as seen.

    Half of the reference models train with the whole request, half without: a model that knew a part of it would know
    the rest from that part, and no Retrain does. Of as many retained units, which every Retrain knows, each is in the
    training of a random half of the models.

    Args:
        config (Config): settings; ``unlearn_audit_models`` is the number of reference models.
        data (UnlearningData): the run's data.
    """

    def __init__(self, config: Any, data: Any) -> None:
        seed, kind, n_models = config["seed"], config["forget_type"], config["unlearn_audit_models"]
        forgotten = Units.of(data.request.users, data.request.items, kind)
        retained = retained_units(data.remaining_graph, kind, forgotten.n, torch_stream(seed, "retained units"))
        self.units = {"forgotten": forgotten, "retained": retained}
        with_request = np.arange(n_models) % 2 == 0
        self.seen = {
            "forgotten": np.repeat(with_request[:, None], forgotten.n, axis=1),
            "retained": balanced_halves(n_models, retained.n, numpy_stream(seed, "halves of the retained units")),
        }
        scores = reference_scores(config, data, list(self.units.values()), list(self.seen.values()))
        self.references = dict(zip(self.units, scores))

    def measure(self, model: torch.nn.Module) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """The attack's success on a model.

        Returns:
            For ``forgotten`` and ``retained`` units the numbers ``audit_NAME_auc`` and ``audit_NAME_tpr`` (the true
            positive rate at 1 % false positives), and the curve ``roc_NAME``, shape ``(2, n)``: false and true
            positive rates.
        """
        numbers: dict[str, float] = {}
        curves: dict[str, np.ndarray] = {}
        for name, units in self.units.items():
            result = attack(unit_scores(model, units), self.references[name], self.seen[name])
            numbers |= {f"audit_{name}_auc": result.auc, f"audit_{name}_tpr": result.tpr}
            curves[f"roc_{name}"] = result.curve
        return numbers, curves
