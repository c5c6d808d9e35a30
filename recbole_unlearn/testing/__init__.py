"""Contracts that an author runs on an own model or method, with pytest, on a tiny dataset.

.. code-block:: python

    from recbole_unlearn.testing import BackboneContract, ExactContract, MethodContract, NetworkContract

    class TestMyModel(BackboneContract):
        model = MyModel

    class TestMyFit(ExactContract):
        model = MyFit

    class TestMyNetwork(NetworkContract):
        model = MyNetwork

    class TestMyMethod(MethodContract):
        method = MyMethod
"""

from recbole_unlearn.testing.backbone import BackboneContract
from recbole_unlearn.testing.exact import ExactContract
from recbole_unlearn.testing.method import MethodContract
from recbole_unlearn.testing.network import NetworkContract
from recbole_unlearn.testing.runs import Run, prepared_run, tiny_dataset, tiny_settings

__all__ = [
    "BackboneContract",
    "ExactContract",
    "MethodContract",
    "NetworkContract",
    "Run",
    "prepared_run",
    "tiny_dataset",
    "tiny_settings",
]
