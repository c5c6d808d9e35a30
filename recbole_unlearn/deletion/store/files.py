"""Folders that are whole or absent even if a process is killed, and a lock that ends with its process."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import filelock

from recbole_unlearn.errors import UsageError
from recbole_unlearn.files.checkpoint import hidden_path

BUILDING = ".building"  # name or ending of a folder that is not whole yet
STAGED = ".new"  # ending of a link that is not in its place yet
SECONDS_BETWEEN_TRIES = 0.05  # to get a lock that another process holds
CHUNK = 2**20  # bytes of a file in memory at a time
HOLDER_AT = 1  # position of the holder in a lock file: on Windows nobody can read the first byte, which is locked
PRIVATE = 0o077  # umask: folders 0700, files 0600


class Lock:
    """Exclusive use of a folder among processes.

    The system frees the lock when its process dies. A forked worker would keep the lock alive, so it closes its copy.

    Args:
        folder: to lock. Its file ``lock``, made if need be, names the process that holds the lock.
    """

    _held: ClassVar[set["Lock"]] = set()  # the locks of this process

    def __init__(self, folder: str):
        self.folder = folder
        self._descriptor = -1  # while it is not held

    @property
    def held(self) -> bool:
        """Whether this process holds the lock."""
        return self in Lock._held

    def acquire(self, wait_seconds: float, on_wait: Callable[[int], object] | None = None) -> None:
        """Take the lock, waiting for it if need be.

        Args:
            wait_seconds: the longest wait; 0 does not wait.
            on_wait: called once with the holder's process id before waiting.

        Raises:
            UsageError: another process holds the lock for all of that time.
        """
        path = os.path.join(self.folder, "lock")
        if os.path.exists(path) and not os.path.isfile(path):
            raise UsageError(f"Store '{self.folder}' is damaged: '{path}' is no file. Remove it and try again.")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            deadline = time.monotonic() + wait_seconds
            while not filelock.lock_descriptor(descriptor, blocking=False):
                os.lseek(descriptor, HOLDER_AT, os.SEEK_SET)
                holder = os.read(descriptor, 20).decode()  # empty for an instant after another process got the lock
                left = deadline - time.monotonic()
                if left <= 0:
                    raise UsageError(
                        f"Store '{self.folder}' is in use by {f'process {holder}' if holder else 'another process'}. "
                        f"Try again when it has ended, or wait for it longer than {wait_seconds:g} s."
                    )
                if on_wait and holder:
                    on_wait(int(holder))
                    on_wait = None
                time.sleep(min(SECONDS_BETWEEN_TRIES, left))
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, HOLDER_AT, os.SEEK_SET)
            os.write(descriptor, str(os.getpid()).encode())
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        Lock._held.add(self)

    def release(self) -> None:
        """Free the lock. In a forked child that leaves its parent's block, it frees nothing."""
        if self.held:
            os.ftruncate(self._descriptor, 0)
            self._close()

    def _close(self):
        Lock._held.discard(self)
        os.close(self._descriptor)  # unlocking in a child would free the parent's lock

    @classmethod
    def _close_all(cls):
        for lock in list(cls._held):
            lock._close()


if hasattr(os, "register_at_fork"):  # where processes fork
    os.register_at_fork(after_in_child=Lock._close_all)


@contextmanager
def private() -> Iterator[None]:
    """Make folders and files that the process creates in the block private to its user, whatever the umask was."""
    before = os.umask(PRIVATE)
    try:
        yield
    finally:
        os.umask(before)


def write_folder(folder: str, write: Callable[[str], object]) -> dict[str, str]:
    """Let ``write(temporary_folder)`` fill a folder, and rename it once all of it is on the disk.

    An interruption leaves ``.building`` next to ``folder``, which the caller removes.

    Args:
        folder: a path that does not exist yet.
        write: takes the temporary folder, which is empty.

    Returns:
        Name of each file, relative to the folder, to its SHA-256.
    """
    parent = os.path.dirname(folder)
    building = os.path.join(parent, BUILDING)
    os.mkdir(building)
    write(building)
    paths = _synced(building)
    os.rename(building, folder)
    sync_folder(parent)
    return {path: digest_of(os.path.join(folder, path)) for path in paths}


@contextmanager
def built_aside(folder: str) -> Iterator[str]:
    """Yield an empty folder next to ``folder`` that takes its place at the end of the block, or vanishes on an error.

    First, this removes what killed processes of this machine have left there. It keeps what other machines that share
    the parent folder are building.

    Args:
        folder: an absolute path where nothing exists. Its parents are made if need be.

    Yields:
        The temporary folder, on the same file system.

    Raises:
        UsageError: something exists at ``folder``.
    """
    _refuse_taken(folder)
    parent, name = os.path.split(folder)
    os.makedirs(parent, exist_ok=True)
    building = hidden_path(parent, f"{name}-", BUILDING, own=True)
    os.mkdir(building)
    try:
        yield building
        _synced(building)
        _refuse_taken(folder)  # a rename could replace an empty folder
        try:
            os.rename(building, folder)
        except OSError:  # several errors say that something exists there meanwhile
            _refuse_taken(folder)
            raise
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    sync_folder(parent)


def sync_folder(folder: str) -> None:
    """Make renames and new names in a folder survive a power failure."""
    if os.name == "nt":
        return  # Windows opens no folder, and writes names at once
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stage_link(target: str, link: str) -> None:
    """Make a link next to ``link``; :func:`place_link` then puts it in its place without more disk space.

    Args:
        target, link: absolute paths. The link is relative, so that it survives a move of both.
    """
    os.symlink(os.path.relpath(target, os.path.dirname(link)), link + STAGED)


def place_link(link: str) -> None:
    """Put the staged link in its place. A reader finds the old link or the new one at any time."""
    os.replace(link + STAGED, link)
    sync_folder(os.path.dirname(link))


def repair_link(target: str, link: str) -> None:
    """Make a link point to its target, and remove a staged link that an interruption has left.

    Raises:
        UsageError: a folder is in the link's place, as in a copy that has followed links.
    """
    if os.path.lexists(link + STAGED):
        os.remove(link + STAGED)
    is_link = os.path.islink(link)
    if os.path.isdir(link) and not is_link:
        raise UsageError(
            f"'{link}' is a folder, but should be a link, which the store makes. Move it away and try again."
        )
    if not is_link or os.readlink(link) != os.path.relpath(target, os.path.dirname(link)):
        stage_link(target, link)
        place_link(link)


def digest_of(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _refuse_taken(path):
    if os.path.lexists(path):
        raise UsageError(f"'{path}' exists already. Name a folder that does not, or use the store that is there.")


def _synced(folder):
    """Write all of a folder down to the disk; the paths of its files, relative to it."""

    def stop(error):
        raise error

    paths = []
    for place, _, names in os.walk(folder, onerror=stop):
        for path in (os.path.join(place, name) for name in sorted(names)):
            if not os.path.islink(path):
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
                paths.append(os.path.relpath(path, folder))
        sync_folder(place)
    return paths
