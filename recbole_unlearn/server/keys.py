"""API keys: a name and the hash of a key for each controller. Only the controller has the key itself."""

import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from recbole_unlearn.errors import UsageError

LINE = re.compile(r"([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})")
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
VARIABLE = "RECBOLE_UNLEARN_KEYS"
OTHERS = 0o077  # permissions of the group and of everybody


class Keys:
    """The API keys of a service.

    Args:
        hashes: name of a controller to the SHA-256 of its key, in hexadecimal digits. Keys are 256 random bits, so that
            nobody finds one by trying.
    """

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = dict(hashes)

    def __len__(self) -> int:
        return len(self._hashes)

    def holder(self, header: str | None) -> str | None:
        """Whose key an ``Authorization`` header has, in a time that does not depend on the keys.

        Args:
            header: ``Bearer KEY``, or None.
        """
        scheme, _, key = (header or "").partition(" ")
        given, found = _hash(key.strip()), None
        for name, known in self._hashes.items():
            if hmac.compare_digest(given, known):
                found = name
        return found if scheme.lower() == "bearer" else None


def read_keys(path: str | None, environment: Mapping[str, str]) -> Keys:
    """Read ``NAME:HASH`` lines of a file and of the variable ``RECBOLE_UNLEARN_KEYS``, where commas separate them too.

    Args:
        path: of the file, which only its owner may read.
        environment: variables.

    Raises:
        UsageError: the file cannot be read, others may read it, or a line is malformed or repeats a name.
    """
    texts = {VARIABLE: environment.get(VARIABLE, "").replace(",", "\n")}
    if path:
        texts[path] = private_text(path)
    hashes: dict[str, str] = {}
    for place, text in texts.items():
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip() or line.startswith("#"):
                continue
            match = LINE.fullmatch(line.strip())
            if not match or match[1] in hashes:
                problem = "repeats a name" if match else "is not NAME:HASH"
                raise UsageError(f"{place}, line {number}, {problem}: make its lines with --new_key=NAME.")
            hashes[match[1]] = match[2]
    return Keys(hashes)


def new_key(name: str, path: str) -> str:
    """Make a key and add its hash to a file, which is made if need be.

    Returns:
        The key, which nothing keeps.

    Raises:
        UsageError: the name is malformed or taken, or the file is not its owner's alone.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"--new_key={name}: a name is 1 to 64 letters, digits and '._-'.")
    if os.path.exists(path) and any(line.startswith(f"{name}:") for line in private_text(path).splitlines()):
        raise UsageError(f"'{path}' has a key of the name '{name}' already: remove its line, or choose another name.")
    key = secrets.token_urlsafe(32)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise UsageError(f"'{path}' cannot be written: {error.strerror}.") from None
    with os.fdopen(descriptor, "a") as file:
        file.write(f"{name}:{_hash(key)}\n")
    return key


def private_text(path: str) -> str:
    """The text of a file with secrets.

    Raises:
        UsageError: it cannot be read, or others than its owner may read it.
    """
    try:
        mode = os.stat(path).st_mode
        if os.name != "nt" and stat.S_IMODE(mode) & OTHERS:
            raise UsageError(f"'{path}' can be read by others than its owner: chmod 600 '{path}'")
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"'{path}' cannot be read: {why}. Name another file.") from None


def _hash(key):
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
