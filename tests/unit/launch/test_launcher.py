"""The launcher with real agents on this machine: whatever happens, nothing is left running."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from agent.processes import left_processes
from launch_parts import parameter_server_roles, trial

from harness.contract import wire
from harness.contract.events import Event
from harness.launch.checkpoints import Checkpoint, Keeping
from harness.launch.code import packaged_code
from harness.launch.frameworks import FRAMEWORKS
from harness.launch.launcher import Launcher, Limits, Outcome
from harness.launch.placement import Placement, Rank, place
from harness.launch.replacements import Replacements
from harness.nodes.inventory import Cluster, Node
from harness.nodes.session import Session
from harness.results.disk import ResultsError

FAST = Limits(stall=None, exit_grace=1, outage=3, silence=3, lease=10)
Program = Callable[[Rank], None]


class Heard:
    """Keeps what a trial says."""

    def __init__(self) -> None:
        self.said: dict[str, bytes] = {}
        self.events: list[str] = []
        self.warnings: list[str] = []
        self.samples = 0
        self.last: dict[str, tuple[int, Mapping[str, object]]] = {}
        """Of each node: how many events had been heard at its last sample, and that."""
        self.files: dict[tuple[str, str], bytes] = {}

    def output(self, rank: Rank, data: bytes) -> None:
        self.said[rank.name] = self.said.get(rank.name, b"") + data

    def event(self, rank: Rank, event: Event) -> None:
        self.events.append(event.kind)

    def file(self, rank: Rank, name: str, data: bytes) -> None:
        self.files[rank.name, name] = data

    def telemetry(self, node: Node, sample: Mapping[str, object]) -> None:
        self.samples += 1
        self.last[node.name] = (len(self.events), sample)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


class Bench:
    """Two nodes of this machine, with a root each."""

    def __init__(self, directory: Path) -> None:
        self.nodes = tuple(
            Node(name, f"127.0.8.{n}", True, str(directory / name), "process", python=sys.executable)
            for n, name in enumerate("ab", 1)
        )
        self.session = Session(Cluster(directory, "local", self.nodes))
        self.code = packaged_code()
        for node in self.nodes:
            self.code.send(self.session.to(node))

    def placement(self, **scripts: str) -> Placement:
        """Every rank runs the shell script given for its name, `true` where there is none."""
        made = place(
            trial(), parameter_server_roles(2, 1, self.nodes), framework=FRAMEWORKS["mxnet"], port=9091,
            command=lambda node: (), environment={}, token="t",  # noqa: S106
        )  # fmt: skip
        ranks = tuple(replace(r, command=("sh", "-c", scripts.get(r.name, "true"))) for r in made.ranks)
        return replace(made, ranks=ranks)

    def run(self, heard: Heard, limits: Limits = FAST, **scripts: str) -> Outcome:
        launcher = Launcher(self.session, self.code.hash, "R", limits, telemetry_seconds=0.5)
        return launcher.run(self.placement(**scripts), heard, expects_events=False)

    def left(self) -> list[int]:
        roots = [Path(node.root) / "trials" for node in self.nodes]
        return [pid for root in roots for spec in root.glob("*/*/*/*/spec.json") for pid in left_processes(spec.parent)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    assert made.left() == []


def test_a_trial_that_ends_well_leaves_nothing_on_the_nodes(bench: Bench) -> None:
    heard = Heard()
    outcome = bench.run(
        heard, worker0='echo one; echo \'{"event": "note"}\'; sleep 1; printf "no end"', worker1="echo two"
    )
    assert (outcome.status, outcome.failure, outcome.warnings) == ("ok", None, [])
    assert heard.said == {"worker0": b'one\n{"event": "note"}\nno end', "worker1": b"two\n"}
    assert heard.events == ["note"]
    assert heard.samples
    assert not any(list((Path(node.root) / "trials" / "R").iterdir()) for node in bench.nodes)


def test_a_sample_is_taken_after_the_last_word_of_a_rank_however_short_it_was(bench: Bench) -> None:
    heard = Heard()
    outcome = bench.run(heard, worker1='sleep 0.2; echo \'{"event": "note"}\'')
    assert outcome.status == "ok"
    events, sample = heard.last["b"]
    assert events == 1
    assert sample.get("cpu_percent") is None
    assert sample["memory_used_bytes"]


def test_one_failure_stops_all_and_is_told_with_its_last_lines(bench: Bench) -> None:
    outcome = bench.run(Heard(), worker1="echo why >&2; exit 3", worker0="sleep 60", server0="sleep 60")
    assert str(outcome.failure) == "worker1 on b: exited with status 3"
    assert outcome.failure is not None
    assert outcome.failure.last_lines == ("why",)


def test_a_server_that_hangs_at_exit_is_stopped_and_does_not_fail_the_trial(bench: Bench) -> None:
    outcome = bench.run(Heard(), server0="sleep 60", scheduler0="trap '' TERM; sleep 60")
    assert outcome.status == "ok"
    assert outcome.warnings == ["scheduler0, server0 did not end by itself and was stopped"]


def test_a_node_that_cannot_start_its_ranks_ends_the_trial(bench: Bench) -> None:
    trials = Path(bench.nodes[1].root) / "trials"
    trials.write_text("no directory")
    outcome = bench.run(Heard(), worker0="sleep 60", server0="sleep 60")
    assert outcome.failure is not None
    assert (outcome.failure.node, "Not a directory" in outcome.failure.how) == ("b", True)
    trials.unlink()


def test_silence_and_time_have_limits(bench: Bench) -> None:
    outcome = bench.run(Heard(), Limits(stall=2), worker0="sleep 60", worker1="while :; do echo x; sleep 0.1; done")
    assert "worker0 on a: no progress for 2 s" in str(outcome.failure)
    outcome = bench.run(Heard(), Limits(time=2), worker0="sleep 60", worker1="sleep 60")
    assert outcome.failure is not None
    assert "time limit of 2 s" in str(outcome.failure) or "ended at the time limit" in str(outcome.failure)
    assert not outcome.failure.ended  # or a sweep would start its workers again, with a new limit


def test_checkpoints_are_fetched_and_workers_begin_with_one(bench: Bench) -> None:
    taken: list[tuple[str, bytes]] = []
    keeping = Keeping(lambda rank, data: taken.append((rank.name, data)), Checkpoint(1, {"": b"x" * 300_000}))
    script = "cat $HARNESS_RESUME_FROM | wc -c; echo $HARNESS_RANK > .new; mv .new $HARNESS_CHECKPOINT"
    launcher = Launcher(bench.session, bench.code.hash, "R", FAST)
    heard = Heard()
    placement = bench.placement(worker0=script, worker1=script, server0="echo ${HARNESS_CHECKPOINT:-none}")
    outcome = launcher.run(placement, heard, expects_events=False, keeping=keeping)
    assert outcome.status == "ok"
    assert sorted(taken) == [("worker0", b"0\n"), ("worker1", b"1\n")]
    assert heard.said == {"server0": b"none\n", "worker0": b"300000\n", "worker1": b"300000\n"}


def test_files_that_ranks_were_to_leave_are_fetched_unless_they_are_too_large_or_links(bench: Bench) -> None:
    made = bench.placement(
        worker0="head -c 300000 /dev/zero > a.html; ln -s /etc/passwd b.html; echo no > c.html",
        worker1=f"head -c {wire.FILE_LIMIT_BYTES + 1} /dev/zero > a.html",
    )
    ranks = tuple(replace(r, leaves=("a.html", "b.html", "d.html") if r.finishes else ()) for r in made.ranks)
    heard = Heard()
    launcher = Launcher(bench.session, bench.code.hash, "R", FAST)
    outcome = launcher.run(replace(made, ranks=ranks), heard, expects_events=False)
    assert outcome.status == "ok"
    assert heard.files == {("worker0", "a.html"): bytes(300_000)}
    assert heard.warnings == ["worker1 on b: a.html has 8.0 MiB; files of more than 8 MiB are not kept"]


def test_another_takes_a_dead_workers_place_while_the_rest_go_on(bench: Bench) -> None:
    ready = """echo '{"event": "ready", "rank": 0, "replaceable": true}'"""
    dying = (
        f'{ready}; echo \'{{"event": "epoch", "rank": 1, "epoch": 4, "train_seconds": 1}}\'; '
        '[ -z "$HARNESS_FOLLOWS_AFTER" ] && kill -9 $$; echo follows after $HARNESS_FOLLOWS_AFTER; sleep 1'
    )
    launcher = Launcher(bench.session, bench.code.hash, "R", FAST)
    heard, replacements = Heard(), Replacements(1)
    placement = bench.placement(
        worker0=f"{ready}; sleep 6", worker1=dying, server0="echo $PS_HEARTBEAT_TIMEOUT; sleep 7"
    )
    outcome = launcher.run(placement, heard, replacements=replacements)
    assert (outcome.status, outcome.failure) == ("ok", None)
    assert heard.said["server0"] == b"4\n"
    assert heard.said["worker1"].endswith(b"follows after 4\n")
    assert [str(failure) for failure in replacements.made] == ["worker1 on b: was killed by SIGKILL"]
    assert heard.warnings == ["worker1 on b: was killed by SIGKILL; another takes its place"]


def test_a_newcomer_is_stopped_with_the_rest(bench: Bench) -> None:
    dying = (
        """echo '{"event": "ready", "rank": 0, "replaceable": true}'; """
        '[ -z "$HARNESS_FOLLOWS_AFTER" ] && kill -9 $$; sleep 60'
    )
    launcher = Launcher(bench.session, bench.code.hash, "R", FAST)
    placement = bench.placement(
        worker1=dying, worker0=f"{dying[: dying.index(';')]}; sleep 5; exit 3", server0="sleep 60"
    )
    outcome = launcher.run(placement, Heard(), replacements=Replacements(1))
    assert str(outcome.failure) == "worker0 on a: exited with status 3"
    assert bench.left() == []


class Full(Heard):
    """A controller whose disk is full."""

    def output(self, rank: Rank, data: bytes) -> None:
        raise ResultsError("cannot write worker0.log: No space left on device")


def test_a_full_disk_here_stops_the_ranks_there(bench: Bench) -> None:
    with pytest.raises(ResultsError, match="No space left"):
        bench.run(Full(), worker0="echo x; sleep 60", worker1="while :; do echo flood; done")


class Interrupted(Heard):
    """A user who presses Ctrl-C at the first output."""

    def output(self, rank: Rank, data: bytes) -> None:
        raise KeyboardInterrupt


def test_an_interrupt_stops_the_ranks(bench: Bench) -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        bench.run(Interrupted(), worker0="echo x; sleep 60", worker1="trap '' TERM; sleep 60")
    assert time.monotonic() - began < 15


def test_threads_and_descriptors_do_not_pile_up(bench: Bench) -> None:
    def held() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    bench.run(Heard())
    before = held()
    for _ in range(3):
        assert bench.run(Heard()).status == "ok"
    deadline = time.monotonic() + 10
    while (
        not _within(held(), before) and time.monotonic() < deadline
    ):  # a thread told to end needs a processor to do so
        time.sleep(0.1)
    assert _within(held(), before)


def _within(now: tuple[int, int], before: tuple[int, int]) -> bool:
    """Not more than before, when the first run's last thread may itself have been on its way out."""
    return now[0] <= before[0] and now[1] <= before[1]


def test_ranks_that_serve_are_stopped_at_once_where_they_do_not_end_by_themselves(bench: Bench) -> None:
    launcher = Launcher(bench.session, bench.code.hash, "R", replace(FAST, exit_grace=60))
    placement = replace(bench.placement(server0="sleep 300"), framework=FRAMEWORKS["plain"])
    began = time.monotonic()
    outcome = launcher.run(placement, Heard(), expects_events=False)
    assert (outcome.status, outcome.warnings) == ("ok", [])
    assert time.monotonic() - began < 30
    assert outcome.ends["server0"].state["reason"] == "stopped"
