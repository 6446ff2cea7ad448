"""Messages with a signature each: a keyed hash (BLAKE2b, RFC 7693) over the message's number and its bytes."""

from __future__ import annotations

import hashlib
import hmac
import socket
import struct

from ....errors import ProgramError
from ....reporting.phases import Phases
from .link import Link

TAG_BYTES = 16


class SignedLink(Link):
    """A connection on which every message is followed by its signature, and none is taken without.

    Each direction has its own key, and messages are numbered: one that is changed, left out, repeated or sent back is found.
    """

    def __init__(
        self, connection: socket.socket, name: str, backlog: set[Link], phases: Phases, keys: tuple[bytes, bytes]
    ) -> None:
        """`keys`: for what is sent, and for what is received."""
        super().__init__(connection, name, backlog, phases)
        self._keys = keys
        self._sent = self._received = 0
        self._heard = _begin(keys[1], 0)
        self._tag = bytearray(TAG_BYTES)

    def send(self, message: memoryview) -> None:
        """As without a signature; the bytes are read now, and those that are left over later."""
        found = _begin(self._keys[0], self._sent)
        found.update(message)
        self._sent += 1
        super().send(message)
        super().send(memoryview(found.digest()))

    def receive(self, message: memoryview) -> None:
        """Fill a buffer, and raise ProgramError where it is not what was sent."""
        super().receive(message)
        self._heard.update(message)
        self._verify()

    def receive_what_is_there(self, message: memoryview) -> memoryview:
        """As without a signature, which is waited for behind the last byte."""
        left = super().receive_what_is_there(message)
        self._heard.update(message[: message.nbytes - left.nbytes])
        if not left.nbytes:
            self._verify()
        return left

    def _verify(self) -> None:
        super().receive(memoryview(self._tag))
        if not hmac.compare_digest(self._heard.digest(), self._tag):
            raise ProgramError(
                f"what came from {self._name} is not what it sent",
                "somebody changes packets between the nodes, or a network card is damaged",
            )
        self._received += 1
        self._heard = _begin(self._keys[1], self._received)


def keys_of(shared: bytes, *, connecting: bool) -> tuple[bytes, bytes]:
    """The keys of one end: for what it sends, and for what it receives."""
    ends = [hashlib.blake2b(end, key=shared, digest_size=32).digest() for end in (b"connect", b"accept")]
    return (ends[0], ends[1]) if connecting else (ends[1], ends[0])


def _begin(key: bytes, number: int) -> hashlib.blake2b:
    """The hash of a message that is to come."""
    return hashlib.blake2b(struct.pack("!Q", number), key=key, digest_size=TAG_BYTES)
