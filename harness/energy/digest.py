"""HTTP's digest authentication (RFC 7616) with SHA-256, which Shelly plugs ask for since their second generation. Pure.

Python's own library knows MD5 and SHA-1 alone.
"""

from __future__ import annotations

import hashlib
from urllib.request import parse_http_list, parse_keqv_list

from harness.energy.devices import MeterError


def digest_answer(challenge: str, user: str, password: str, path: str, nonce: str) -> str:
    """The header `Authorization` of a GET of `path`, for what `WWW-Authenticate` asked; `nonce` is the client's own.

    Raises MeterError where it asks for another way.
    """
    scheme, _, rest = challenge.partition(" ")
    try:
        asked = {name.lower(): value for name, value in parse_keqv_list(parse_http_list(rest)).items()}
    except (ValueError, IndexError):
        asked = {}
    algorithm, offered = asked.get("algorithm", "").upper(), asked.get("qop", "").replace(" ", "").split(",")
    if scheme.lower() != "digest" or algorithm != "SHA-256" or "auth" not in offered or "nonce" not in asked:
        raise MeterError("it asks for a password in a way that is not known")
    realm, count = asked.get("realm", ""), "00000001"
    who, what = _hash(f"{user}:{realm}:{password}"), _hash(f"GET:{path}")
    response = _hash(f"{who}:{asked['nonce']}:{count}:{nonce}:auth:{what}")
    quoted = {
        "username": user,
        "realm": realm,
        "nonce": asked["nonce"],
        "uri": path,
        "cnonce": nonce,
        "response": response,
    }
    named = ", ".join(f'{name}="{value}"' for name, value in quoted.items())
    opaque = f', opaque="{asked["opaque"]}"' if "opaque" in asked else ""
    return f"Digest {named}, algorithm=SHA-256, qop=auth, nc={count}{opaque}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
