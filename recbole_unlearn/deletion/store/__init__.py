"""A folder that keeps a model's versions, the requests and their outcomes, whatever interrupts it."""

from recbole_unlearn.deletion.store.store import Store  # noqa: F401
