"""Places that serve a version besides the store: files for other systems, an index, a model registry."""

from recbole_unlearn.deletion.sinks.base import SINKS, Sink  # noqa: F401
from recbole_unlearn.deletion.sinks.embeddings import Embeddings  # noqa: F401  (registers itself, as those below)
from recbole_unlearn.deletion.sinks.index import Index  # noqa: F401
from recbole_unlearn.deletion.sinks.lists import Lists  # noqa: F401
from recbole_unlearn.deletion.sinks.mlflow import MLflow  # noqa: F401
