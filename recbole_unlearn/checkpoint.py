"""Files that are whole or absent, and that cannot run code when they are read."""

import os

import torch


def write_aside(path, write):
    """Let ``write(temporary_path)`` make a file, then rename it: an interruption leaves the old file or the new one.

    Args:
        path (str): where the file belongs; its folder is made if need be.
        write (callable): takes the temporary path, in the same folder and with the same ending.
    """
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{os.getpid()}-{name}")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())  # the content before the name, also through a power failure
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def save(path, state):
    """Save tensors and plain data."""

    def write(temporary):
        with open(temporary, "wb") as file:
            try:
                torch.save(state, file)
            except RuntimeError as error:  # of torch's writer, on closing after the OSError of a full disk
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None

    write_aside(path, write)


def load(path, device="cpu"):
    """Load what :func:`save` wrote.

    Raises:
        FileNotFoundError: no such file.
        pickle.UnpicklingError: it holds more than tensors and plain data, which torch refuses to run.
    """
    return torch.load(path, map_location=device, weights_only=True)
