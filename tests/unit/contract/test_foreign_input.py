"""Whatever nodes, programs and users write: it is read, or refused with a HarnessError, and nothing else happens.

Each property has a document of the right shape, and tries it with some values replaced, left out, or all else.
"""

from __future__ import annotations

import json
import queue
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from launch_parts import NODES, exit_state, trial
from odd_values import EXAMPLES, SCALARS, foreign
from recorded_trial import recorded

from harness.contract.events import LineSplitter, parse_line
from harness.errors import HarnessError
from harness.experiment.catalog import read_program
from harness.experiment.declaration import load_experiment, validate
from harness.experiment.overrides import with_overrides
from harness.experiment.plan import expand
from harness.experiment.rates import parse_rates
from harness.launch.follow import AgentError, Follower, Message
from harness.launch.job import read_hostfile
from harness.launch.limits import Limits
from harness.launch.placement import place_trial
from harness.nodes.inventory import Node
from harness.nodes.read_inventory import build_cluster, load_cluster
from harness.nodes.stream import Stream, StreamClosedError
from harness.nodes.transport import Transport

tried = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

HOST = {
    "ansible_host": "10.0.0.1", "ansible_user": "pi", "ansible_port": 22, "ansible_connection": "ssh",
    "ansible_ssh_private_key_file": "~/.ssh/id", "ansible_python_interpreter": "/usr/bin/python3", "cluster_kind": "pi",
    "cluster_known_hosts": "known_hosts", "cluster_network_namespace": "n", "cluster_port": 9091, "cluster_time_dilation": 1,
    "cluster_link": "cable",
    "node_root": "/opt/harness", "node_supervisor": "systemd", "node_threads": 1, "node_cores": 4, "node_memory": "1GiB",
    "node_counts": True, "ansible_become_password": "hush",
    "node_power_meter": "shelly2://10.0.1.1/0", "cluster_power_meters": {"switch": "watts:3"},
}  # fmt: skip
LISTING = {
    "_meta": {"hostvars": {"a": HOST, "b": {**HOST, "ansible_host": "10.0.0.2"}}},
    "all": {"children": ["nodes", "ungrouped"]},
    "nodes": {"hosts": ["a"], "children": ["rest"]},
    "rest": {"hosts": ["b"]},
}
EVENT = {
    "event": "epoch", "rank": 0, "epoch": 1, "step": 1, "steps": 8, "images": 500, "train_seconds": 1.5,
    "validation_seconds": 0.5, "bytes": 9, "sha256": "x", "shared": True, "validation_accuracy": 0.9,
    "parameters": 10, "message": "m",
}  # fmt: skip
EXPERIMENT = {
    "name": "e", "description": "d", "program": "train.py", "parameters": {"epochs": 1, "kvstore": "none", "dataset": "digits"},
    "environment": {"A": "1"}, "variants": {"v": {"parameters": {"epochs": 2}, "environment": {}, "batches": "even"}},
    "axes": {"nodes": "1-2", "repeats": 2, "epochs": [1, 2]},
}  # fmt: skip
PROGRAM = {
    "description": "d", "command": "p.py", "framework": "plain", "events": True,
    "runtime": [{"part": "mxnet", "offers": {"s": "x"}}],
    "roles": {"worker": {"on": "each", "count": "n", "ends": "finishes", "may_die": 0, "joins": "start",
                         "says_ready": True, "when": {"n": [1]}}},
    "batch": "n", "alone": {"n": 1}, "control": {"n": 1},
    "parameters": {"n": {"type": "int", "minimum": 1, "maximum": 9, "default": 1, "help": "h", "when": {"n": [1]}}},
}  # fmt: skip
RATES = "# batch_size: 64\nnode,address,images_per_second,image_milliseconds,fixed_milliseconds,share\na,10.0.0.1,10,1.5,2,1\n"
BYTES = st.binary(max_size=60)
TEXT_OF_A_FILE = st.text(max_size=60).map(lambda text: text.encode(errors="replace"))


@contextmanager
def refusing() -> Iterator[None]:
    """A HarnessError is all that may happen."""
    with suppress(HarnessError):
        yield


@tried
@given(values=foreign({"a": HOST, "b": {**HOST, "ansible_host": "10.0.0.2"}}))
def test_host_variables(values: Any) -> None:
    if isinstance(values, dict) and all(isinstance(each, dict) for each in values.values()) and values:
        with refusing():
            build_cluster(Path("/inventory"), values)


@tried
@given(listing=foreign(LISTING))
def test_an_answer_of_ansible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listing: Any) -> None:
    def answer(command: Sequence[str], *_: object) -> None:
        Path(command[-1]).write_text(json.dumps(listing))

    monkeypatch.setattr("harness.nodes.read_inventory._ansible", answer)
    with refusing():
        load_cluster(tmp_path)


@tried
@given(content=BYTES | TEXT_OF_A_FILE | st.from_regex(rb"([a-z0-9.@:#\-\[\]\xff ]{1,12}\n){1,3}", fullmatch=True))
def test_a_hostfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    def nobody(_: str) -> str:
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "gethostbyname", nobody)
    (tmp_path / "hosts").write_bytes(content)
    with refusing():
        read_hostfile(tmp_path / "hosts")


@tried
@given(document=foreign(EXPERIMENT))
def test_an_experiment(tmp_path: Path, document: Any) -> None:
    path = tmp_path / "e.yaml"
    with suppress(yaml.YAMLError, UnicodeEncodeError):
        path.write_bytes(yaml.safe_dump(document, allow_unicode=True).encode(errors="surrogatepass"))
        with refusing():
            declared = load_experiment(path)
            for point in expand(declared)[:50]:
                place_trial(point, NODES, 9091, _Sent(), "")  # type: ignore[arg-type]


class _Sent:
    agent = "x"
    programs = {"train.py": "x/train.py"}  # noqa: RUF012


@tried
@given(content=BYTES)
def test_an_experiment_of_any_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "e.yaml").write_bytes(content)
    with refusing():
        load_experiment(tmp_path / "e.yaml")


@tried
@given(
    settings_=st.lists(st.tuples(st.sampled_from(["epochs", "kvstore", "limit", "nix", ""]), SCALARS), max_size=2),
    nodes=SCALARS, environment=st.lists(st.text(max_size=5), max_size=2),
    variants=st.lists(st.sampled_from(["v", "x"]), max_size=1),
)  # fmt: skip
def test_the_command_line(settings_: list[Any], nodes: Any, environment: list[str], variants: list[str]) -> None:
    with refusing():
        with_overrides(
            validate(EXPERIMENT, "test"), nodes=None if nodes is None else str(nodes), environment=environment,
            variants=variants,
            settings=[f"{name}={value}" for name, value in settings_],
        )  # fmt: skip


@tried
@given(document=foreign(PROGRAM))
def test_a_programs_description(tmp_path: Path, document: Any) -> None:
    (tmp_path / "p.py").write_text("")
    path = tmp_path / "p.program.yaml"
    with suppress(yaml.YAMLError):
        path.write_bytes(yaml.safe_dump(document, allow_unicode=True).encode(errors="surrogatepass"))
        with refusing():
            read_program(path)


@tried
@given(
    cut=st.integers(0, len(RATES)),
    put=st.sampled_from([",", "\n", "nan", "1e999", "-1", '"', "\0", "x", ""]),
    drop=st.integers(0, 9),
)
def test_a_file_of_rates(cut: int, put: str, drop: int) -> None:
    with refusing():
        parse_rates(RATES[:cut] + put + RATES[cut + drop :], "test")


@tried
@given(
    line=st.text(max_size=40) | foreign(EVENT).map(json.dumps) | BYTES.map(lambda data: data.decode(errors="replace"))
)
def test_a_line_of_output(line: str) -> None:
    event = parse_line(line)
    if event is not None:
        for key in event.values:
            number = event.number(key)
            assert number is None or float(number) == number


@tried
@given(pieces=st.lists(BYTES, max_size=5))
def test_lines_come_out_as_they_went_in_however_they_were_cut(pieces: list[bytes]) -> None:
    splitter = LineSplitter()
    lines = [line for piece in pieces for line in splitter.feed(piece)] + splitter.flush()
    whole = b"".join(pieces).split(b"\n")
    expected = [line.decode(errors="replace").rstrip("\r") for line in whole[:-1]]
    expected += [whole[-1].decode(errors="replace")] if whole[-1] else []
    assert lines == expected


class Said(Stream):
    """A stream that says these bytes and ends."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        super().__init__()
        self._pieces = list(pieces)

    def write(self, data: bytes) -> None: ...

    def _read(self, timeout: float) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None: ...

    def errors(self) -> str:
        return ""


FRAME = exit_state(
    "exit", rank="worker0", code=1, failed={}, stopped=["worker0"], offset=0, bytes=3, error="e", listening=True
)
KINDS = ["started", "output", "checkpoint", "exit", "beat", "telemetry", "listening", "held", "refused", "error", "x"]
FRAMES = foreign(FRAME) | st.builds(lambda frame, kind: {**frame, "frame": kind} if isinstance(frame, dict) else frame,
                                    foreign(FRAME), st.sampled_from(KINDS))  # fmt: skip


@tried
@given(pieces=st.lists(BYTES | FRAMES.map(lambda frame: json.dumps(frame).encode() + b"\nabc"), max_size=4))
def test_frames(pieces: list[bytes]) -> None:
    stream = Said([piece for piece in pieces if piece])
    with suppress(StreamClosedError, TimeoutError):
        while stream.read_frame(1) is not None:
            pass


class Silent(Transport):
    """A node that nobody asks."""

    def open(self, command: Sequence[str]) -> Stream:
        return Said([])

    def close(self) -> None: ...

    def close_if_dead(self) -> None: ...


REQUEST = {"ranks": [{"name": "worker0"}, {"name": "server0"}], "trial": "t", "checkpoint": {"ranks": ["worker0"]}}


@tried
@given(frames=st.lists(FRAMES.filter(lambda frame: isinstance(frame, dict)), max_size=6))
def test_what_a_node_says_of_its_ranks_is_believed_or_refused(tmp_path: Path, frames: list[dict[str, Any]]) -> None:
    inbox: queue.Queue[Message] = queue.Queue()
    node: Node = NODES[0]
    follower = Follower(Silent(node), "x", REQUEST, Limits(), inbox)
    with recorded(tmp_path, inbox) as made:
        running = made.running
        for frame in frames:
            with suppress(AgentError):
                follower._take(json.loads(json.dumps(frame)), b"abc")
            while running.take_one(0):
                pass
            running.watch.failure(0.0)


@tried
@given(lines=st.lists(foreign(EVENT).map(json.dumps) | st.text(max_size=10), max_size=6))
def test_nothing_that_a_program_prints_ends_a_sweep(tmp_path: Path, lines: list[str]) -> None:
    inbox: queue.Queue[Message] = queue.Queue()
    offset = 0
    with recorded(tmp_path, inbox) as made:
        running = made.running
        for line in lines:
            data = line.encode(errors="replace") + b"\n"
            frame = {"frame": "output", "rank": "worker0", "offset": offset}
            inbox.put(Message(NODES[0], frame, data))
            offset += len(data)
        while running.take_one(0):
            pass
        running.outcome.started_at = datetime.now(UTC)


def test_the_trial_of_these_tests_is_one() -> None:
    assert trial(1).program.events


def test_no_property_has_a_deadline_that_a_slow_machine_misses() -> None:
    assert settings.default is not None
    assert settings.default.deadline is None
