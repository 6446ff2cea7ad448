"""What a node says is checked before it is believed."""

from __future__ import annotations

import json
import queue
from collections.abc import Sequence

import pytest
from launch_parts import NODES, exit_state

from harness.contract import wire
from harness.contract.json_line import Json
from harness.launch.follow import Follower, Message
from harness.launch.limits import Limits
from harness.nodes.stream import Stream, StreamClosedError
from harness.nodes.transport import Transport

STARTED = {"frame": "started", "failed": {}}


class Script(Stream):
    """A stream that says what it was given, then is silent or cut."""

    def __init__(self, chunks: Sequence[bytes], cut: bool) -> None:
        super().__init__()
        self._chunks = list(chunks)
        self._cut = cut
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def _read(self, timeout: float) -> bytes:
        if self._chunks:
            return self._chunks.pop(0)
        if self._cut:
            raise StreamClosedError("the connection was lost")
        raise TimeoutError

    def close(self) -> None: ...

    def errors(self) -> str:
        return ""


class Scripted(Transport):
    """A node whose connections say, one after the other, what they were given."""

    def __init__(self, *connections: Sequence[bytes]) -> None:
        super().__init__(NODES[0])
        self._connections = [Script(chunks, cut=True) for chunks in connections]
        self.streams: list[Script] = []
        self.verbs: list[str] = []

    def open(self, command: Sequence[str]) -> Stream:
        self.verbs.append(command[-1])
        self.streams.append(self._connections.pop(0))
        return self.streams[-1]

    def close(self) -> None: ...

    def close_if_dead(self) -> None: ...


def frame(payload: bytes = b"", **values: object) -> bytes:
    size: Json = {"bytes": len(payload)} if payload else {}
    return json.dumps({**values, **size}).encode() + b"\n" + payload


def followed(*connections: Sequence[bytes], ranks: Sequence[str] = ("worker0",)) -> tuple[list[Message], Scripted]:
    transport = Scripted(*connections)
    inbox: queue.Queue[Message] = queue.Queue()
    request = {"ranks": [{"name": name} for name in ranks], "files": {"worker0": ["report.html"]}}
    Follower(transport, "code", request, Limits(outage=1, silence=1), inbox).run()
    return list(inbox.queue), transport


@pytest.mark.parametrize(
    "lie",
    [
        frame(frame="output", rank="worker7", offset=0, payload=b"x"),
        frame(b"x", frame="output", rank="../../../etc/passwd", offset=0),
        frame(b"x", frame="output", rank=None, offset=0),
        frame(b"x", frame="output", rank="worker0", offset=-5),
        frame(b"x", frame="output", rank="worker0", offset=12345),
        frame(b"x", frame="checkpoint", rank="worker0"),  # nobody asked
        frame(b"x", frame="checkpoint", rank="../worker0"),
        frame(b"x", frame="left_file", rank="worker0", name="trial.json", size=1),  # nobody asked
        frame(b"x", frame="left_file", rank="worker0", name="../report.html", size=1),
        frame(b"x", frame="left_file", rank="worker9", name="report.html", size=1),
        frame(b"x", frame="left_file", rank="worker0", name="report.html", size="1"),
        frame(b"x", frame="left_file", rank="worker0", name="report.html", size=10**400),
        frame(frame="exit", rank="../worker0", reason="exit"),
        frame(frame="exit", rank="worker0"),
        frame(frame="exit", rank="worker0", reason="exit", code="0"),
        frame(frame="exit", rank="worker0", reason="exit", seconds_ago="soon"),
        frame(frame="exit", rank="worker0", reason="exit", seconds_ago=float("nan")),
        frame(frame="exit", rank="worker0", reason="exit", seconds_ago=10**400),
        frame(frame="exit", rank="worker0", reason="exit", code=10**400),
        frame(frame="exit", rank=["worker0"], reason="exit"),
        frame(frame="beat", stopped=["worker9"]),
        frame(frame="beat", stopped=[["worker0"]]),
        frame(frame="beat", stopped="worker0"),
        frame(frame="started", failed={"worker9": "x"}),
        frame(frame="started", failed=["worker0"]),
    ],
)
def test_a_node_that_lies_is_given_up(lie: bytes) -> None:
    messages, _ = followed([frame(**STARTED), lie])
    assert messages[-1].fatal
    assert not any(message.payload for message in messages)


def test_a_cut_stream_goes_on_where_it_was_cut() -> None:
    ended = frame(**{**exit_state(), "rank": "worker0"})
    messages, transport = followed(
        [frame(**STARTED), frame(b"one ", frame="output", rank="worker0", offset=0), b'{"frame": "out'],
        [frame(b"two", frame="output", rank="worker0", offset=4) + ended],
    )
    assert b"".join(message.payload for message in messages) == b"one two"
    assert transport.verbs == ["run", "follow"]
    assert json.loads(transport.streams[1].written.split(b"\n")[0])["offsets"] == {"worker0": 4}
    assert transport.streams[1].written.endswith(b"q")
    assert [m.trouble for m in messages if m.trouble][-1] == "connected again"


def test_a_node_that_cannot_start_is_fatal_at_once() -> None:
    messages, transport = followed([])
    assert messages[-1].fatal
    assert "could not start its ranks" in messages[-1].trouble
    assert transport.verbs == ["run"]


def test_an_error_of_the_agent_is_fatal() -> None:
    messages, _ = followed([frame(frame="error", error="No space left on device")])
    assert messages[-1].fatal
    assert "No space left" in messages[-1].trouble


@pytest.mark.parametrize(
    "noise",
    [
        b"Welcome to Debian\n",
        b"[1]\n",
        b'{"bytes": -1}\n',
        b'{"bytes": 1e99}\n',
        b'{"bytes": Infinity}\n',
        b'{"bytes": 1%s}\n' % (b"0" * 5000),
        b'{"bytes": null}\n',
        b'{"frame": %s}\n' % (b"[" * 200_000),
        b"\xff\n",
    ],
    ids=lambda noise: repr(noise[:16]),
)
def test_what_is_no_frame_is_refused(noise: bytes) -> None:
    with pytest.raises(StreamClosedError):
        Script([noise], cut=False).read_frame(1)


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    chunks = [b"x" * (1 << 20)] * (wire.FRAME_LIMIT_BYTES // (1 << 20) + 2)
    with pytest.raises(StreamClosedError, match="without an end"):
        Script(chunks, cut=False).read_frame(1)


def test_a_beat_says_which_ranks_it_speaks_for() -> None:
    messages, _ = followed(
        [
            frame(**STARTED) + frame(frame="beat", stopped=["server0"]),
            frame(**exit_state(rank="worker0", signal=9)) + frame(frame="beat", stopped=["worker0"]),
            frame(**exit_state(rank="server0")),
        ],
        ranks=("server0", "worker0"),
    )
    beats = [message.followed for message in messages if message.frame.get("frame") == "beat"]
    assert beats == [{"server0", "worker0"}, {"server0"}]


def test_what_ended_is_not_asked_for_again_after_a_cut() -> None:
    _, transport = followed(
        [frame(**STARTED), frame(**exit_state(rank="worker0", signal=9))],
        [frame(**exit_state(rank="server0"))],
        ranks=("server0", "worker0"),
    )
    asked = [json.loads(stream.written.partition(b"\n")[0])["offsets"] for stream in transport.streams]
    assert asked == [{"server0": 0, "worker0": 0}, {"server0": 0}]
