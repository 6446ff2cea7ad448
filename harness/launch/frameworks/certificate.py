"""The certificate of one trial: made of the trial's secret, so that it is the same for all its ranks and for nobody else. Pure.

It signs itself, and is all that a trial's ranks trust: whoever shows it has its key (RFC 8410: Ed25519, whose signatures are
determined by key and content).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

# A board without a battery may believe that it is 1970 or 2100; who is trusted is a matter of the key, which lasts one trial.
_FROM, _UNTIL = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_PURPOSE = b"harness: key of the trial's certificate"


@dataclass(frozen=True)
class Credentials:
    """A certificate and its private key, as PEM."""

    certificate: str
    key: str


def credentials(token: str) -> Credentials:
    """The credentials of the trial with this secret; the token cannot be found from them."""
    key = Ed25519PrivateKey.from_private_bytes(hmac.new(token.encode(), _PURPOSE, hashlib.sha256).digest())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "harness trial")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, None)
    )
    pem = serialization.Encoding.PEM
    return Credentials(
        certificate.public_bytes(pem).decode("ascii"),
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode("ascii"),
    )
