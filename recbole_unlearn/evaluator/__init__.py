"""How well a model forgot and how good it still is."""

from recbole_unlearn.evaluator.metrics import auc, matching_weights, mi_bf, mi_ng
from recbole_unlearn.evaluator.recbole_metrics import MembershipCollector, register_metrics

__all__ = ["MembershipCollector", "auc", "matching_weights", "mi_bf", "mi_ng", "register_metrics"]
