"""Names of what is in a store's folder, and the record of a version."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_unlearn.deletion.store.files import digest_of
from recbole_unlearn.errors import UsageError

ENDINGS = (".safetensors", ".pth")  # of checkpoints: this release's; RecBole's and earlier releases'
STORE = ".store"  # ending of a store's folder
FAILED = ".failed"  # ending of the folder of a version that fails its checks
WORK = "work"  # folder of a store for a retraining in progress
OF_SINKS = "sinks"  # folder of a store for what its sinks write, unless a setting names another


@dataclass(frozen=True)
class Version:
    """A version of the model.

    Args:
        number: from 1.
        parent: number of the version that it was made from; None for the first.
        method: how it was made, e.g. ``"import"`` or ``"UnlearnRec"``.
        created_at: ISO 8601 in UTC, as all times of a store.
        files: name, relative to the folder, to SHA-256.
        details: plain data about it.
        folder: absolute.
        quarantined_until: when it may be removed; None for the current version.
    """

    number: int
    parent: int | None
    method: str
    created_at: str
    files: dict[str, str]
    details: dict[str, Any]
    folder: str
    quarantined_until: str | None = None

    def changed_files(self) -> list[str]:
        """Paths of files that are missing or have changed since the version was made. Reads every file in full."""
        paths = {os.path.join(self.folder, name): digest for name, digest in self.files.items()}
        return [path for path, digest in paths.items() if not os.path.isfile(path) or digest_of(path) != digest]

    def check_files(self) -> None:
        """Refuse the version if a file is missing or has changed.

        Raises:
            UsageError: names the first such file.
        """
        changed = self.changed_files()
        if changed:
            raise UsageError(
                f"'{changed[0]}' is missing or has changed since version {self.number} was made. Restore it."
            )


def store_folder(checkpoint: str | os.PathLike) -> str:
    """The folder of a checkpoint's store, beside the checkpoint: ``X.store`` for ``X.safetensors`` or ``X.pth``.

    Raises:
        UsageError: the checkpoint is itself a file of a store.
    """
    for parent in Path(checkpoint).absolute().parents:
        if parent.suffix == STORE:
            raise UsageError(
                f"'{checkpoint}' is a version in a store. Name the checkpoint of the store: {checkpoint_of(parent)}"
            )
    return f"{os.path.splitext(checkpoint)[0]}{STORE}"


def checkpoint_of(store_folder: str | os.PathLike) -> str:
    """The checkpoint beside a store, which may be deleted by now.

    Raises:
        UsageError: the folder's name is not that of a store.
    """
    folder = Path(store_folder).absolute()
    if folder.suffix != STORE:
        raise UsageError(f"'{store_folder}' is no store: its name does not end in {STORE}. Name a store's folder.")
    names = [folder.with_suffix(ending) for ending in ENDINGS]
    return str(next(filter(Path.is_file, names), names[0]))


def version_folder(store_folder: str, number: int) -> str:
    """The folder of a version."""
    return os.path.join(store_folder, "versions", f"{number:04d}")
