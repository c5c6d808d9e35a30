"""Contracts that an author runs on an own backbone, fitted model or method, with pytest, on a tiny dataset.

.. code-block:: python

    from recbole_unlearn.testing import BackboneContract, ExactContract, MethodContract

    class TestMyModel(BackboneContract):
        model = MyModel

    class TestMyFit(ExactContract):
        model = MyFit

    class TestMyMethod(MethodContract):
        method = MyMethod
"""

from recbole_unlearn.testing.backbone import BackboneContract
from recbole_unlearn.testing.exact import ExactContract
from recbole_unlearn.testing.method import MethodContract
from recbole_unlearn.testing.runs import Run, prepared_run, tiny_dataset, tiny_settings

__all__ = [
    "BackboneContract",
    "ExactContract",
    "MethodContract",
    "Run",
    "prepared_run",
    "tiny_dataset",
    "tiny_settings",
]
