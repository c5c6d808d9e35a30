"""What people ask to forget: read from a file, and looked up in the data."""

from recbole_unlearn.deletion.requests.request import DeletionRequest, read_requests  # noqa: F401
