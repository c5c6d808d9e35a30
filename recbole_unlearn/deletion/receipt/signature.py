"""Signatures of receipts: Ed25519 (RFC 8032) over a canonical form of their JSON.

The signed bytes are the receipt without its entry ``signature``, as JSON in UTF-8: names sorted by code point, no
spaces, every character beyond ASCII escaped as ``\\uXXXX``, whole numbers in digits and other numbers in the shortest
form that reads back as the same float64. This is what Python's ``json.dumps(receipt, sort_keys=True, separators=(",",
":"), allow_nan=False)`` gives.
"""

import hashlib
import json
import os
from logging import getLogger
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from recbole_unlearn.errors import UsageError
from recbole_unlearn.files.checkpoint import write_aside

ALGORITHM = "Ed25519"
PRIVATE, PUBLIC = "signing_key.pem", "signing_key.pub.pem"  # files of a store
UNSIGNED = "not signed"
LARGEST_KEY = 2**16  # bytes of a key's file


class NotGenuine(Exception):
    """A receipt whose content or signature is not what the key's owner made; the message says why."""


def signing_key(folder: str, given: str | None = None) -> Ed25519PrivateKey:
    """The private key of a store, made at the first call, and its public key written beside it.

    Args:
        folder: of the store, which is locked: files that are made are its owner's alone.
        given: path of a key to use instead, PEM.

    Raises:
        UsageError: the key cannot be read.
    """
    path = given or os.path.join(folder, PRIVATE)
    if not given and not os.path.lexists(path):
        encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        content = Ed25519PrivateKey.generate().private_bytes(*encoding)
        write_aside(path, lambda temporary: Path(temporary).write_bytes(content))
    key = read_private(path)
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    public = Path(folder, PUBLIC)
    if public.is_file() and public.read_bytes() != pem:
        earlier = public.with_name(f"{PUBLIC}.{hashlib.sha256(public.read_bytes()).hexdigest()[:8]}")
        getLogger().warning(f"Another key signs from now on; '{earlier}' is the public key of the receipts so far")
        os.replace(public, earlier)
    if not public.is_file():
        write_aside(public, lambda temporary: Path(temporary).write_bytes(pem))
    return key


def read_private(path: str) -> Ed25519PrivateKey:
    """A private Ed25519 key from a PEM file without a password.

    Raises:
        UsageError: the file is missing or holds something else.
    """
    key = _read(path, lambda content: serialization.load_pem_private_key(content, None))
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"'{path}' has no private Ed25519 key: make one with `openssl genpkey -algorithm ed25519`.")
    return key


def read_public(path: str) -> Ed25519PublicKey:
    """A public Ed25519 key from a PEM file.

    Raises:
        UsageError: the file is missing or holds something else.
    """
    key = _read(path, serialization.load_pem_public_key)
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"'{path}' has no public Ed25519 key: a store's is its file {PUBLIC}.")
    return key


def canonical(receipt: dict[str, Any]) -> bytes:
    """The bytes that are signed.

    Args:
        receipt: plain data with finite numbers.
    """
    unsigned = {name: value for name, value in receipt.items() if name != "signature"}
    return json.dumps(unsigned, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sign(receipt: dict[str, Any], key: Ed25519PrivateKey) -> dict[str, str]:
    """The entry ``signature`` of a receipt."""
    public = hexadecimal(key.public_key())
    return {"algorithm": ALGORITHM, "public_key": public, "value": key.sign(canonical(receipt)).hex()}


def hexadecimal(key: Ed25519PublicKey) -> str:
    """The 32 bytes of a public key as hexadecimal digits."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()


def check_signature(receipt: dict[str, Any], keys: list[Ed25519PublicKey]) -> None:
    """Refuse a receipt that none of the keys has signed. The key that it names itself proves nothing.

    Raises:
        NotGenuine: says why.
    """
    signature = receipt.get("signature")
    if signature is None:
        raise NotGenuine(UNSIGNED)
    try:
        if signature["algorithm"] != ALGORITHM:
            raise NotGenuine("signed with another algorithm")
        value, content = bytes.fromhex(signature["value"]), canonical(receipt)
    except (KeyError, TypeError, ValueError):
        raise NotGenuine("its signature is malformed") from None
    for key in keys:
        try:
            return key.verify(value, content)
        except InvalidSignature:
            pass
    is_known = signature.get("public_key") in map(hexadecimal, keys)
    raise NotGenuine("changed since it was signed" if is_known else "signed with another key, or changed")


def parse(text: str) -> dict[str, Any]:
    """The JSON of a receipt, read strictly: a name that comes twice could show people one value and programs another.

    Raises:
        NotGenuine: it is no object of JSON, or not of this kind.
    """

    def once(pairs):
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError
        return dict(pairs)

    def refuse(constant):
        raise ValueError

    try:
        receipt = json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise NotGenuine("no JSON of a receipt") from None
    if not isinstance(receipt, dict):
        raise NotGenuine("no JSON of a receipt")
    return receipt


def _read(path, load):
    try:
        with open(path, "rb") as file:
            return load(file.read(LARGEST_KEY))
    except OSError as error:
        raise UsageError(f"'{path}' cannot be read as a key: {error.strerror}.") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a password
        raise UsageError(f"'{path}' is no key in PEM, or has a password.") from None
