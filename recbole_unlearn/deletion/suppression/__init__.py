"""What was forgotten stays forgotten: new data without the rows of those who asked stores to forget them."""

from recbole_unlearn.deletion.suppression.filter import Filtered, filter_file  # noqa: F401
from recbole_unlearn.deletion.suppression.suppression import Suppression  # noqa: F401
