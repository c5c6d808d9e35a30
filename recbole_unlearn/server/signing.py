"""The signature of answers and callbacks, as OpenDSR wants it: RSA with SHA-256, by a certificate of the domain."""

import base64
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from recbole_unlearn.errors import UsageError, reason
from recbole_unlearn.server.keys import private_text

DOMAIN_HEADER = "X-OpenDSR-Processor-Domain"
SIGNATURE_HEADER = "X-OpenDSR-Signature"
LEAST_BITS = 2048


@dataclass(frozen=True)
class Signer:
    """Signs bodies: RSASSA-PKCS1-v1_5 over their SHA-256, in base64.

    Args:
        key: a private key.
        certificate: its X.509 certificate, PEM.
        domain: what the certificate was issued for.
    """

    key: RSAPrivateKey
    certificate: str
    domain: str

    def headers(self, body: bytes) -> dict[str, str]:
        """The headers that go with a body."""
        signature = self.key.sign(body, padding.PKCS1v15(), hashes.SHA256())
        return {DOMAIN_HEADER: self.domain, SIGNATURE_HEADER: base64.b64encode(signature).decode()}


def read_signer(key_file: str, certificate_file: str, domain: str) -> Signer:
    """Read a key and a certificate, both PEM.

    Args:
        key_file: an RSA key without a password, which only its owner may read.
        certificate_file: its certificate first, and any intermediate ones after it.
        domain: where controllers reach the service.

    Raises:
        UsageError: a file cannot be read, the key is no RSA key of at least 2048 bits, or the certificate is not of
            this key and domain, or not valid now.
    """
    text = private_text(key_file)
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # the library's words may quote the file
        raise UsageError(f"'{key_file}' is no private key in PEM without a password.") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < LEAST_BITS:
        raise UsageError(f"'{key_file}' is no RSA key of at least {LEAST_BITS} bits, which OpenDSR's signatures need.")
    try:
        chain = Path(certificate_file).read_text(encoding="utf-8")
        certificate = x509.load_pem_x509_certificate(chain.encode())
    except (OSError, ValueError) as error:
        raise UsageError(f"'{certificate_file}' is no certificate in PEM: {reason(error)}.") from None
    if certificate.public_key() != key.public_key():
        raise UsageError(f"'{certificate_file}' is not the certificate of the key '{key_file}'. Name its own.")
    if domain not in _names(certificate):
        raise UsageError(f"'{certificate_file}' was not issued for '{domain}': --domain must be a name that it has.")
    if not certificate.not_valid_before_utc <= datetime.now(timezone.utc) <= certificate.not_valid_after_utc:
        raise UsageError(f"'{certificate_file}' is not valid today: renew it.")
    return Signer(key, chain, domain)


def _names(certificate):
    """The names of the domain that a certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.DNSName)
