"""A trial's certificate: the same for all its ranks, and worth nothing elsewhere."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from harness.launch.frameworks.certificate import Credentials, credentials


def context(directory: Path, found: Credentials, side: ssl.Purpose) -> ssl.SSLContext:
    """As distributed makes it: the other side must show a certificate that this one trusts."""
    paths = [directory / f"{id(found)}.{part}" for part in ("crt", "key")]
    for path, text in zip(paths, (found.certificate, found.key), strict=True):
        path.write_text(text, encoding="ascii")
    made = ssl.create_default_context(side, cadata=found.certificate)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(*paths)
    return made


def talk(directory: Path, server: Credentials, client: Credentials | None) -> bytes:
    """What a client hears from a server; raises OSError (of which ssl.SSLError is one) where it is refused."""
    ours, theirs = socket.socketpair()
    serving = context(directory, server, ssl.Purpose.CLIENT_AUTH)

    def serve() -> None:
        try:
            with serving.wrap_socket(ours, server_side=True) as connection:
                connection.sendall(b"welcome")
        except OSError:
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    theirs.settimeout(10)
    try:
        if client is None:
            theirs.sendall(b"hello in plain text, as no TLS begins\n")
            return theirs.recv(7)
        with context(directory, client, ssl.Purpose.SERVER_AUTH).wrap_socket(theirs) as connection:
            return connection.recv(7)
    finally:
        theirs.close()
        thread.join()


def test_a_trials_ranks_have_one_certificate_and_know_each_other(tmp_path: Path) -> None:
    assert credentials("s3cret") == credentials("s3cret")
    assert talk(tmp_path, credentials("s3cret"), credentials("s3cret")) == b"welcome"


def test_another_trials_certificate_and_plain_text_are_refused(tmp_path: Path) -> None:
    assert credentials("s3cret") != credentials("another")
    with pytest.raises(OSError, match=r"."):
        talk(tmp_path, credentials("s3cret"), credentials("another"))
    try:
        heard = talk(tmp_path, credentials("s3cret"), None)
    except OSError:
        heard = b""
    assert b"welcome" not in heard


def test_the_token_is_in_neither(tmp_path: Path) -> None:
    found = credentials("s3cret")
    assert "s3cret" not in found.certificate + found.key
