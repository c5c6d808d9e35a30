"""Files that are whole or absent, and that run no code when they are read."""

import os
import re
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Any

import filelock
import psutil
import torch

# In the names of unfinished files and folders. All of it: machines of one cluster differ in the last letters.
HOST = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())


def write_aside(path: str | os.PathLike, write: Callable[[str], object]) -> None:
    """Let ``write(temporary_path)`` make a file, then rename it: an interruption leaves the old file or the new one.

    Args:
        path: of the file; its folder is made if need be.
        write: takes the temporary path, in the same folder and with the same ending.
    """
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    temporary = hidden_path(folder, suffix=f"-{name}")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())  # content before name, even in a power failure
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def hidden_path(folder: str, prefix: str = "", suffix: str = "", own: bool = False) -> str:
    """A new name for what is not whole yet; first removes what killed processes of this machine left under such names.

    Processes of other machines that share the folder may be alive: theirs stay.

    Args:
        folder: where it is to be.
        prefix, suffix: of its name, around the machine, the process and a random number.
        own: whether to remove those of this process's id too, which an earlier process had: no thread makes another.
    """
    left = re.compile(rf"\.{re.escape(prefix + HOST)}-(\d+)-[0-9a-f]{{8}}{re.escape(suffix)}")
    for entry in os.listdir(folder):
        match = left.fullmatch(entry)
        if match and (own and int(match[1]) == os.getpid() or not psutil.pid_exists(int(match[1]))):
            with suppress(FileNotFoundError):  # another process was faster
                remove(os.path.join(folder, entry))
    return os.path.join(folder, f".{prefix}{HOST}-{os.getpid()}-{secrets.token_hex(4)}{suffix}")


def remove(path: str | os.PathLike) -> None:
    """Remove a file, a link, or a folder with its content."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.remove(path)


@contextmanager
def alone(path: str) -> Iterator[float]:
    """Exclude other processes that would make the same file, on this machine and on others that share its folder.

    The lock is a hidden file beside it, which the end of the block removes.

    Args:
        path: of the file.

    Yields:
        Seconds spent waiting for another process.
    """
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    lock, begun, waited = os.path.join(folder, f".{name}.lock"), perf_counter(), 0.0
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT)
        if not filelock.lock_descriptor(descriptor, blocking=False):
            filelock.lock_descriptor(descriptor)
            waited = perf_counter() - begun
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
                break
        os.close(descriptor)  # its holder has removed the file meanwhile
    try:
        yield waited
    finally:
        with suppress(OSError):  # Windows removes no open file: it stays and is reused
            os.remove(lock)
        os.close(descriptor)


def save(path: str, state: Any) -> None:
    """Save tensors and plain data; the file is whole or absent."""

    def write(temporary):
        with open(temporary, "wb") as file:
            try:
                torch.save(state, file)
            except RuntimeError as error:  # torch's writer raises it on closing, after the OSError of a full disk
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None

    write_aside(path, write)


def load(path: str, device: str | torch.device = "cpu") -> Any:
    """Load what :func:`save` wrote.

    Raises:
        FileNotFoundError: the file does not exist.
        pickle.UnpicklingError: it holds more than tensors and plain data, which torch refuses to run.
    """
    return torch.load(path, map_location=device, weights_only=True)
