"""What is published: the sweeps, in the order in which they are measured. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.cli.options import DEFAULT_EXPERIMENT
from harness.paths import EXPERIMENTS, REPOSITORY
from tests.bench.stage import PROFILE, settings
from tests.bench.stores import BASELINES

PUBLISHED = EXPERIMENTS / "lenet_scaling.yaml"
RULES = EXPERIMENTS / "rules.yaml"
STRATEGIES = REPOSITORY / "tests" / "bench" / "strategies.yaml"
HALF_PI3 = "tests/bench/half_pi3.yaml"
"""A profile, as named from the repository's directory: it is kept in the manifest."""
_SOME_SIZES = (1, 2, 4, 8, 11)
_STEPS = 20  # of an epoch, where time is asked for and not accuracy
_EPOCHS = 3  # the first of which does not count
_TIMED = ("--set", f"epoch_steps={_STEPS}", "--set", f"epochs={_EPOCHS}", "--set", "validation=false")
# As many steps an epoch as `local_sgd` makes between averages.
_FEWER_STEPS = ("--set", "epoch_steps=10", "--set", f"epochs={_EPOCHS}", "--set", "validation=false")
# Nearly five meetings of `frugal` an epoch.
_RULES_TIMED = ("--set", "epoch_steps=85", "--set", f"epochs={_EPOCHS}", "--set", "validation=false")
# The machine's pace changes between trials: from 7 on an interval leaves out the extremes.
_REPEATS = ("--repeats", "7")
_VARIANT = "epochs_4"  # all take as long a step
_RULES = (
    *("every_step", "frugal", "outer", "average", "local_sgd", "easgd", "admm", "once"),
    *("dist_async", "downpour", "downpour_10"),
)
_BEST_RULES = ("every_step", "frugal", "outer", "average")
# One worker with its best policy: what the rules are compared with.
_BEST_ALONE = settings(learning_rate=0.4, warmup_steps=200, decay_begins=0, momentum=0, nesterov="false")
# Four Pis, one of them at half speed, a laptop and a desktop.
_UNLIKE = {"node04": HALF_PI3, "node05": "laptop", "node06": "desktop"}


@dataclass(frozen=True)
class Sweep:
    """One published sweep: where it goes, and what it is called with."""

    name: str
    experiment: Path
    arguments: tuple[str, ...]
    figures: tuple[str, ...]
    timed: bool = True
    """Whether times are asked of it: else nothing limits the processors, accuracy is no time."""
    profile: str = PROFILE
    slower: float = 1.0
    """By how much more time is slowed down for it."""
    accuracy_from: str | None = None
    """The sweep whose epochs its report takes accuracies from."""
    unlike: bool = False
    """Whether its nodes are of unlike speed."""

    memory: str = "1GiB"
    """Of each node."""

    @property
    def directory(self) -> str:
        """Where its runs are, below the stage's output."""
        return f"runs/{self.name}"

    @property
    def node_options(self) -> tuple[str, ...]:
        """Options of `harness cluster up` for the nodes' memory and for nodes of other speeds."""
        profiles = [f"--node-profile={node}={profile}" for node, profile in _UNLIKE.items()] if self.unlike else []
        return f"--memory={self.memory}", *profiles


def scaling(nodes: int) -> list[Sweep]:
    """Time and accuracy over cluster sizes, and the stores beside each other."""
    some = ",".join(str(size) for size in _SOME_SIZES if size <= nodes)
    ends = ("--nodes", f"1,{nodes}", "--variant", _VARIANT)
    return [
        Sweep("accuracy", DEFAULT_EXPERIMENT, ("--nodes", some), ("accuracy_by_epoch",), timed=False),
        Sweep("accuracy_published", PUBLISHED, ("--nodes", "1", "--repeats", "3"), (), timed=False),
        Sweep(
            "scaling", DEFAULT_EXPERIMENT,
            ("--nodes", some, *_REPEATS, "--variant", _VARIANT, "--set", "kvstore=allreduce,none", *_TIMED),
            ("target", "steps", "scaling", "prediction"),
            accuracy_from="accuracy",
        ),
        Sweep(
            "in_turns", DEFAULT_EXPERIMENT,
            (*ends, *_REPEATS, "--env", "MXNET_ENGINE_TYPE=NaiveEngine", "--set", "kvstore=allreduce", *_TIMED),
            ("steps",),
        ),
        Sweep(
            "baselines", BASELINES, ("--nodes", str(nodes), *_FEWER_STEPS), ("throughput", "steps"),
            slower=2.0,  # a server on every node beside the worker is twice as much for this machine
        ),
        Sweep(
            "slow_board", DEFAULT_EXPERIMENT,
            (*ends, "--set", "kvstore=allreduce,none", *_TIMED),
            ("steps",), profile="pi3-slow",
        ),
    ]  # fmt: skip


def rules(nodes: int) -> list[Sweep]:
    """Training rules beside each other, volunteers, and a home that learns."""
    return [
        Sweep(
            "rules_throughput", RULES,
            ("--nodes", str(nodes), "--repeats", "7", *_variants("frugal", "every_step", "none"), *_RULES_TIMED),
            ("throughput", "steps"),
        ),
        Sweep(
            "volunteers", EXPERIMENTS / "volunteers.yaml",
            (*_variants("sized", "equal"), "--repeats", "3", "--set", "wait_for=6", "--set", "round_steps=188"),
            ("shares",), unlike=True,
        ),
        Sweep(
            "volunteers_leaving", EXPERIMENTS / "volunteers.yaml",
            (*_variants("sized"), "--repeats", "3", "--set", "passes=4", "--set", "wait_for=5", "--set", "comes=5:8",
             "--set", "goes=1:12"),
            ("shares",), unlike=True,
        ),
        Sweep("one_worker", RULES, ("--nodes", "1", *_variants("none"), *_BEST_ALONE), (), timed=False),
        Sweep(
            "rules_accuracy", RULES, ("--nodes", str(nodes), "--repeats", "1", *_variants(*_RULES)),
            ("accuracy_by_cost",), timed=False,
        ),
        Sweep(
            "rules_seeds", RULES,
            ("--nodes", str(nodes), "--repeats", "1", "--set", "seed=1,2", *_variants(*_BEST_RULES)),
            (), timed=False,
        ),
        Sweep(
            "rules_seeds_others", RULES,
            ("--nodes", str(nodes), "--repeats", "1", "--set", "seed=1,2",
             *_variants(*(rule for rule in _RULES if rule not in _BEST_RULES))),
            (), timed=False,
        ),
        Sweep("home", EXPERIMENTS / "home.yaml", (), ("worlds",), timed=False),
    ]  # fmt: skip


def models(nodes: int) -> list[Sweep]:
    """Larger models in each way of sharing the work: which one wins where."""

    def sweep(name: str, sizes: str, repeats: int, *variants: str, memory: str = "1GiB", **values: object) -> Sweep:
        arguments = ("--nodes", sizes, "--repeats", str(repeats), *_variants(*variants), *settings(**values))
        return Sweep(name, STRATEGIES, arguments, (), memory=memory)

    def accuracy(name: str, *variants: str) -> Sweep:
        arguments = ("--repeats", "3", "--set", "model=squeezenet_32", *_variants(*variants))
        return Sweep(name, EXPERIMENTS / "edge_cnn.yaml", arguments, (), timed=False)

    some = ",".join(str(size) for size in (4, nodes) if size <= nodes)
    return [
        # Sums of AlexNet do not fit 1 GiB.
        sweep("alexnet", "4", 1, "sums", "factors", "split", "pipeline", "pipeline_4", "none", memory="2GiB"),
        sweep("resnet20", str(nodes), 3, "sums", "none", model="resnet20", batch_size=64, epoch_steps=4),
        sweep("alexnet_towers", "2", 1, "sums", "factors", "towers", "none", memory="2GiB", model="alexnet_towers"),
        sweep("alexnet_32", some, 1, "sums", "factors", "split", "none", model="alexnet_32", batch_size=16, epoch_steps=3),
        sweep("vgg11", "4", 1, "sums", "pipeline", "pipeline_4", "none", model="vgg11", batch_size=16, epoch_steps=3),
        sweep(
            "lenet5", "4", 1, "sums", "factors", "pipeline", "none",
            model="lenet5", dataset="mnist", batch_size=64, epoch_steps=20,
        ),
        # MobileNetV2 takes about sixty times as long: on boards, or overnight.
        accuracy("edge_cnn", "published", "scaled", "frugal"),
        accuracy("edge_cnn_same_batch", "same_batch_4", "same_batch_11"),
    ]  # fmt: skip


SETS = {"scaling": scaling, "rules": rules, "models": models}


def _variants(*names: str) -> Sequence[str]:
    return [word for name in names for word in ("--variant", name)]
