"""Keyed hashes of what is forgotten, which only who has the store's key can compare."""

import hashlib
from json.encoder import encode_basestring_ascii

KEY_BYTES = 32


class KeyedHash:
    """Hashes texts with a key; see :meth:`Ledger.keyed_hash`."""

    def __init__(self, key: bytes):
        self._empty = hashlib.blake2b(key=key, digest_size=16)

    def __call__(self, *parts: str | None) -> str:
        texts = ("null" if part is None else encode_basestring_ascii(part) for part in parts)
        digest = self._empty.copy()
        digest.update(f"[{', '.join(texts)}]".encode())  # JSON, so that ("ab", "c") and ("a", "bc") differ
        return digest.hexdigest()


def fingerprint(key: bytes) -> str:
    """A hash that distinguishes keys without revealing them."""
    return hashlib.blake2b(key=key, person=b"fingerprint", digest_size=16).hexdigest()
