"""The launcher's safety nets: holds, standstill, limits of starting, and nothing lost where the launcher is slow."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from launch_parts import NODES, exit_state, placement

from harness.contract.events import Event
from harness.contract.json_line import Json
from harness.errors import BadInputError
from harness.launch.checkpoints import Gathering
from harness.launch.code import packaged_code
from harness.launch.follow import Follower, Message
from harness.launch.hold import Hold, HoldLostError, Standstill
from harness.launch.limits import Limits
from harness.launch.running import Outcome, RunningTrial
from harness.launch.watch import Failure, Watch
from harness.nodes.inventory import Cluster, Node
from harness.nodes.session import Session
from harness.nodes.stream import Stream, StreamClosedError
from harness.nodes.transport import Transport

LEASE_SECONDS = 1.5

# --- one harness at a time ---


@pytest.fixture
def nodes(tmp_path: Path) -> tuple[Node, ...]:
    return tuple(
        Node(name, f"127.0.19.{n}", True, str(tmp_path / name), "process", python=sys.executable)
        for n, name in enumerate("ab", 1)
    )


@pytest.fixture
def session(nodes: tuple[Node, ...], tmp_path: Path) -> Iterator[Session]:
    with Session(Cluster(tmp_path, "local", nodes)) as made:
        for node in nodes:
            packaged_code().send(made.to(node))
        yield made


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "lease", LEASE_SECONDS)


HARNESS = """
import sys, time
from pathlib import Path
from harness.launch.code import packaged_code
from harness.launch.hold import Hold
from harness.launch.limits import Limits
from harness.nodes.inventory import Cluster, Node
from harness.nodes.session import Session
Limits.lease = float(sys.argv[2])
node = Node("a", "127.0.19.1", True, sys.argv[1], "process", python=sys.executable)
with Session(Cluster(Path("x"), "local", (node,))) as session, Hold(session, [node], packaged_code().hash, "first") as hold:
    print("held", flush=True)
    for _ in range(600):
        time.sleep(0.05)
        try: hold.check()
        except Exception as error: sys.exit(f"{type(error).__name__}: {error.message} | {error.remedy}")
"""


@pytest.mark.usefixtures("short_lease")
def test_a_harness_that_was_paused_learns_that_it_lost_its_hold(session: Session, nodes: tuple[Node, ...]) -> None:
    code = packaged_code().hash
    with subprocess.Popen(
        [sys.executable, "-c", HARNESS, nodes[0].root, str(LEASE_SECONDS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as paused:
        assert paused.stdout is not None
        assert paused.stdout.readline() == "held\n"
        with pytest.raises(BadInputError, match="a: is held by run first"), Hold(session, nodes[:1], code, "second"):
            pass
        paused.send_signal(signal.SIGSTOP)
        time.sleep(LEASE_SECONDS + 1)
        with Hold(session, nodes[:1], code, "second") as second:
            paused.send_signal(signal.SIGCONT)
            _, said = paused.communicate(timeout=20)
            assert "HoldLostError: a: is held by run second" in said
            assert "--resume" in said
            second.check()


@pytest.mark.usefixtures("short_lease")
def test_a_hold_is_renewed_for_as_long_as_it_lasts_and_then_free(session: Session, nodes: tuple[Node, ...]) -> None:
    code = packaged_code().hash
    with Hold(session, nodes, code, "first") as hold:
        time.sleep(2 * LEASE_SECONDS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("harness.launch.hold.this_harness", lambda: "another")
            with pytest.raises(BadInputError, match="a: is held by run first"), Hold(session, nodes, code, "x"):
                pass
        hold.check()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.launch.hold.this_harness", lambda: "another")
        with Hold(session, nodes, code, "x"):
            pass


def test_a_refused_hold_lets_go_of_the_other_nodes(session: Session, nodes: tuple[Node, ...]) -> None:
    code = packaged_code().hash
    with Hold(session, nodes[1:], code, "first"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.launch.hold.this_harness", lambda: "another")
        with pytest.raises(BadInputError, match="b: is held by run first"), Hold(session, nodes, code, "second"):
            pass
        patch.setattr("harness.launch.hold.this_harness", lambda: "a third")
        with Hold(session, nodes[:1], code, "third"):
            pass


# --- a trial while it runs ---


class Nobody:
    """Hears warnings only."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def output(self, *_: object) -> None: ...

    def event(self, *_: object) -> None: ...

    def telemetry(self, *_: object) -> None: ...

    def warning(self, text: str) -> None:
        self.warnings.append(text)


LIMITS = Limits(start=5, stall=5, outage=5)


def running(limits: Limits = LIMITS) -> RunningTrial:
    made = placement()
    began = time.monotonic()
    return RunningTrial(
        inbox=queue.Queue(), watch=Watch(made, limits, expects_events=False, now=began), observer=Nobody(),
        outcome=Outcome("failed", datetime.now(UTC)), began=began, framework=made.framework,
    )  # fmt: skip


def exited(name: str, **values: object) -> Message:
    node = NODES[1] if name == "worker1" else NODES[0]
    return Message(node, {**exit_state(**values), "rank": name})  # type: ignore[arg-type]


def test_the_launcher_waits_a_moment_for_whoever_failed_first() -> None:
    trial = running()
    trial.inbox.put(exited("worker0", code=1))
    threading.Timer(0.4, trial.inbox.put, [exited("worker1", code=7, seconds_ago=30.0)]).start()
    failure = trial.watch_until_over(LIMITS, lambda _: False)
    assert str(failure) == "worker1 on b: exited with status 7"


def test_a_harness_that_stood_still_blames_nobody_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = running()
    clock = [1000.0]
    monkeypatch.setattr("harness.launch.hold._now", lambda: clock[0])
    trial._standstill = Standstill()
    trial.began -= 100
    follower = Follower(Talking([]), "code", REQUEST, LIMITS, queue.Queue())
    follower._launched, follower._heard = True, time.monotonic() - 40
    trial.followers.append(follower)
    trial.watch._heard = dict.fromkeys(trial.watch._heard, time.monotonic() - 40)
    clock[0] += 40

    def end() -> None:
        for name in trial.watch.ranks:
            trial.inbox.put(exited(name))

    threading.Timer(1.0, end).start()
    assert trial.watch_until_over(LIMITS, lambda _: False) is None
    assert trial.outcome.stood_still_seconds == 40
    assert trial.outcome.warnings == ["the harness itself stood still for 40 s: it was stopped, or its machine slept"]


def test_a_lost_hold_ends_the_trial() -> None:
    trial = running()

    def lost() -> None:
        raise HoldLostError("a: is held by run S")

    trial.still_there = lost
    with pytest.raises(HoldLostError):
        trial.watch_until_over(LIMITS, lambda _: False)


@pytest.mark.parametrize(
    ("state", "printed", "refused", "against"),
    [
        ({"code": 2, "ran_seconds": 0.4}, "error: unrecognized arguments: --epoch", True, False),
        ({"code": 64, "ran_seconds": 0.4}, "", True, False),
        ({"code": 2, "ran_seconds": 60.0}, "", False, True),
        ({"code": 2}, "", False, True),
        ({"code": 2, "ran_seconds": 0.1}, "python3: can't open file 'x.py': No such file", False, True),
        ({"code": 1, "ran_seconds": 0.4}, "", False, True),
        ({"signal": 9, "ran_seconds": 0.4}, "", False, True),
        ({"reason": "lost", "message": "its node was rebooted"}, "", False, True),
        ({"reason": "stopped", "signal": 15}, "", False, False),
        ({"reason": "time_limit", "signal": 15}, "", False, False),
        ({"reason": "output_limit", "signal": 15, "message": "it had printed more than 8 MiB"}, "", False, False),
    ],
)
def test_whose_fault_an_end_is(state: Json, printed: str, refused: bool, against: bool) -> None:
    watch = Watch(placement(), LIMITS, expects_events=True, now=0.0)
    watch.take_log("worker1", printed)
    watch.take_exit("worker1", exit_state(**state), now=1.0)
    failure = watch.failure(1.0)
    assert isinstance(failure, Failure)
    assert (failure.refused, failure.against_node) == (refused, against)


def test_who_has_begun_its_work_does_not_refuse_its_arguments() -> None:
    watch = Watch(placement(), LIMITS, expects_events=True, now=0.0)
    watch.take_event("worker0", Event("ready", {"rank": 0}))
    watch.take_exit("worker1", exit_state(code=2, ran_seconds=1.0), now=1.0)
    failure = watch.failure(1.0)
    assert failure is not None
    assert not failure.refused


@pytest.mark.parametrize(
    ("stall", "no_stall", "events", "plain"),
    [(None, False, 120.0, 1800.0), (7.0, False, 7.0, 7.0), (None, True, None, None)],
)
def test_silence_has_a_limit_that_can_be_lifted(
    stall: float | None, no_stall: bool, events: float | None, plain: float | None
) -> None:
    limits = Limits(stall=float("inf") if no_stall else stall, silent=1800.0)
    found = [limits.silence_of_rank(True), limits.silence_of_rank(False)]
    assert [None if seconds == float("inf") else seconds for seconds in found] == [events, plain]


# --- following ---

REQUEST: Json = {"ranks": [{"name": "worker0"}]}


def frame(payload: bytes = b"", **values: object) -> bytes:
    return json.dumps({**values, **({"bytes": len(payload)} if payload else {})}).encode() + b"\n" + payload


class Talk(Stream):
    """Says each piece after a pause; at the end it is silent."""

    def __init__(self, pieces: Sequence[bytes], pause: float) -> None:
        super().__init__()
        self._pieces = list(pieces)
        self._pause = pause
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def _read(self, timeout: float) -> bytes:
        time.sleep(self._pause)
        if not self._pieces:
            raise StreamClosedError("over")
        return self._pieces.pop(0)

    def close(self) -> None: ...

    def errors(self) -> str:
        return ""


class Talking(Transport):
    """A node with one connection."""

    def __init__(self, pieces: Sequence[bytes], pause: float = 0.0) -> None:
        super().__init__(NODES[0])
        self.stream = Talk(pieces, pause)

    def open(self, command: Sequence[str]) -> Stream:
        return self.stream

    def close(self) -> None: ...

    def close_if_dead(self) -> None: ...


STARTED = frame(frame="started", failed={})
ENDED = frame(**{**exit_state(), "rank": "worker0"})


def test_nothing_is_dropped_where_the_launcher_is_slower_than_its_nodes() -> None:
    pieces = [frame(b"%03d" % n, frame="output", rank="worker0", offset=3 * n) for n in range(40)]
    inbox: queue.Queue[Message] = queue.Queue(maxsize=2)
    follower = Follower(Talking([STARTED, *pieces, ENDED]), "code", REQUEST, LIMITS, inbox)
    follower.start()
    got = b""
    while (message := inbox.get(timeout=10)).frame.get("frame") != "exit":
        time.sleep(0.05)
        got += message.payload
    assert got == b"".join(b"%03d" % n for n in range(40))


def test_a_lease_is_renewed_many_times_in_its_length() -> None:
    beats = [frame(frame="beat", stopped=[])] * 40
    talking = Talking([STARTED, *beats, ENDED], pause=0.05)
    limits = replace(LIMITS, lease=0.8)
    Follower(talking, "code", REQUEST, limits, queue.Queue()).run()
    assert talking.stream.written.count(b".", talking.stream.written.index(b"\n")) >= 10


def test_a_node_that_says_much_but_not_that_it_started_is_given_up() -> None:
    trial = running()
    follower = Follower(Talking([frame(frame="beat", stopped=[])] * 3), "code", REQUEST, LIMITS, trial.inbox)
    trial.followers.append(follower)
    now = time.monotonic()
    trial._give_up_silent(LIMITS, now + 4)
    assert trial.watch.lost_nodes == {}
    trial._give_up_silent(LIMITS, now + 6)
    assert trial.watch.lost_nodes == {"a": "did not start its ranks within 5 s"}


# --- checkpoints ---


def test_one_workers_weights_are_no_whole_checkpoint() -> None:
    import hashlib

    gathering = Gathering(["worker0", "worker1"])
    for number, worker in enumerate(gathering.workers):
        digest = hashlib.sha256(worker.encode()).hexdigest()
        gathering.event(worker, Event("epoch", {"rank": number, "epoch": 1}))
        gathering.event(worker, Event("checkpoint", {"rank": number, "epoch": 1, "bytes": 7, "sha256": digest}))
    gathering.data(b"worker0")
    assert gathering.whole() is None
    gathering.data(b"worker1")
    whole = gathering.whole()
    assert whole is not None
    assert dict(whole.weights) == {"worker0": b"worker0", "worker1": b"worker1"}
