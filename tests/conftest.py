"""Fixtures for all tests: a virtual cluster that the playbooks have provisioned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from odd_values import examples
from playbooks import DaskProvisioned, Played, ProvisionedCluster, play

from harness.errors import HarnessError
from harness.paths import REPOSITORY
from harness.virtual.blueprint import ClusterRequest
from harness.virtual.down import down
from harness.virtual.host import cgroup, requirements
from harness.virtual.state import places_of
from harness.virtual.up import up

NODES = 3
SUBNET = "10.79.0.0/24"

# A slow or a busy machine is no fault of the code.
settings.register_profile("any machine", deadline=None, max_examples=examples(100))
settings.load_profile("any machine")

_WRONG_SKIPS = pytest.StashKey[str]()


def virtual_obstacle() -> str | None:
    """Why this machine cannot have a virtual cluster; None where it can."""
    try:
        requirements.require_all()
        cgroup.find_hierarchies()
    except HarnessError as error:
        return f"{error.message} ({error.remedy})"
    return None


def require_virtual() -> None:
    """Skip a test that needs a virtual cluster, where this machine can have none; for root that is a failure.

    What `make test` installs must work; whoever runs it as root where it cannot, in a container, sets HARNESS_NO_VIRTUAL.
    """
    if (reason := virtual_obstacle()) is None:
        return
    if os.geteuid() == 0 and not os.environ.get("HARNESS_NO_VIRTUAL"):
        pytest.fail(f"root, but no virtual clusters: {reason}; where that cannot be helped, set HARNESS_NO_VIRTUAL=1")
    pytest.skip(reason)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--allowed-skips FILE`: a test that is skipped for a reason that is not in the file is a failure."""
    parser.addoption(
        "--allowed-skips",
        type=Path,
        metavar="FILE",
        help="fail where a test is skipped, unless its reason begins like a line",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where a test was skipped that should have run: a test that never runs tells nothing."""
    file: Path | None = session.config.getoption("--allowed-skips")
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if file is None or reporter is None:
        return
    lines = file.read_text(encoding="utf-8").splitlines()
    allowed = tuple(line for line in lines if line.strip() and not line.startswith("#"))
    reasons = [str(report.longrepr[2]).removeprefix("Skipped: ") for report in reporter.stats.get("skipped", [])]
    if wrong := sorted({reason for reason in reasons if not reason.startswith(allowed)}):
        session.config.stash[_WRONG_SKIPS] = f"skipped, which {file} does not allow: {'; '.join(wrong)}"
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say so."""
    if told := config.stash.get(_WRONG_SKIPS, ""):
        terminalreporter.section("skipped tests", red=True)
        terminalreporter.line(told)


@contextmanager
def provisioned(name: str, state: Path, request: ClusterRequest, *arguments: str) -> Iterator[ProvisionedCluster]:
    """A virtual cluster with its state in `state`: site.yml rehearsed with --check, run, and run again, with these arguments.

    HARNESS_STATE_DIR points to the state while the cluster is there. It is always removed.
    """
    require_virtual()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_STATE_DIR", str(state))
        try:
            up(name, request)
            inventory = places_of(name).inventory
            rehearsal = play("site.yml", inventory, *arguments, "--check", cluster=name)
            first = play("site.yml", inventory, *arguments, cluster=name)
            second = play("site.yml", inventory, *arguments, cluster=name)
            nodes = tuple(sorted(second.recap))
            yield ProvisionedCluster(name, inventory, nodes, rehearsal, first, second)
        finally:
            down(name)


@pytest.fixture(scope="session")
def provisioned_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProvisionedCluster]:
    """Three nodes at full speed. HARNESS_MNIST_DIR is used if it is set."""
    request = ClusterRequest(nodes=NODES, profile="none", subnet=SUBNET)
    with provisioned(f"p{os.getpid():x}", tmp_path_factory.mktemp("virtual"), request) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def dask_provisioned(tmp_path_factory: pytest.TempPathFactory) -> DaskProvisioned:
    """A node root of this machine in which site.yml has put Dask's environment: rehearsed with --check, run, and run again.

    The bundle is made once in a controller's cache; its wheels come from the package index.
    """
    root = tmp_path_factory.mktemp("dask") / "harness"

    def run(*arguments: str) -> Played:
        return play(
            "site.yml", REPOSITORY / "inventory" / "local", "-e", f"node_root={root}",
            "-e", '{"node_runtimes": ["dask"], "dask_dashboard": true, "dask_ray": true}', *arguments,
        )  # fmt: skip

    rehearsal = run("--check")
    made_nothing = not root.exists()
    return DaskProvisioned(root, rehearsal, made_nothing, run(), run())


@pytest.fixture(scope="session")
def dask_root(request: pytest.FixtureRequest) -> Path:
    """A node root with Dask's environment: that of HARNESS_DASK_ROOT, where somebody has made one, or else a new one."""
    given = os.environ.get("HARNESS_DASK_ROOT")
    if given:
        return Path(given)
    provisioned: DaskProvisioned = request.getfixturevalue("dask_provisioned")
    assert provisioned.first.returncode == 0, provisioned.first.output
    return provisioned.root
