"""The number of rows of each training edge, as a file, so that a revision need not parse the rows."""

import torch

from recbole_unlearn.errors import UsageError
from recbole_unlearn.files import tensor_file

KIND = "counts"


def write(path: str, counts: torch.Tensor) -> None:
    """Write the counts, shape ``(E,)``; the file is whole or absent."""
    tensor_file.write(path, KIND, {"train": counts.int()}, {})


def read(path: str) -> torch.Tensor:
    """Read the counts, shape ``(E,)``.

    Raises:
        UsageError: the file does not exist, is of another kind, or is damaged.
    """
    try:
        counts = tensor_file.read(path, KIND)[0]["train"].long()
        if counts.ndim != 1 or (counts < 1).any():
            raise ValueError("they are no counts")
    except Exception as error:  # safetensors raises several types
        raise UsageError(
            f"'{path}' has no counts of rows: {(str(error) or type(error).__name__).splitlines()[0]}"
        ) from None
    return counts
