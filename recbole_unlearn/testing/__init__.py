"""Contracts that an author runs on an own backbone or method, with pytest, on a tiny dataset.

.. code-block:: python

    from recbole_unlearn.testing import BackboneContract, MethodContract

    class TestMyModel(BackboneContract):
        model = MyModel

    class TestMyMethod(MethodContract):
        method = MyMethod
"""

from recbole_unlearn.testing.backbone import BackboneContract
from recbole_unlearn.testing.method import MethodContract
from recbole_unlearn.testing.runs import Run, prepared_run, tiny_dataset, tiny_settings

__all__ = ["BackboneContract", "MethodContract", "Run", "prepared_run", "tiny_dataset", "tiny_settings"]
