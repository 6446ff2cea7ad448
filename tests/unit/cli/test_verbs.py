"""The verbs: one list, imported when used; and their options' bounds."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from forked_harness import harness
from typer.testing import CliRunner

from harness.cli.app import app
from harness.cli.group import load
from harness.cli.running.programs import example
from harness.cli.verbs import VERBS
from harness.experiment.catalog import bundled_programs
from harness.experiment.declaration import load_experiment
from harness.experiment.program import Program

HEAVY = (
    "matplotlib",
    "pandas",
    "numpy",
    "pydantic",
    "paramiko",
    "fabric",
    "yaml",
    "rich",
    "harness.nodes",
    "harness.virtual",
)
HOSTS = """\
nodes:
  hosts: {local-1: {ansible_host: 127.0.0.1}, local-2: {ansible_host: 127.0.0.2}}
  vars: {ansible_connection: local, cluster_kind: local, node_supervisor: process, node_shared_machine: true, node_root: %s}
"""


def invoked(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(word) for word in arguments])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.yml"
    path.write_text(HOSTS % (tmp_path / "node"), encoding="utf-8")
    return path


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_listed_with_the_first_line_of_its_help(verb: str) -> None:
    assert load(verb).help.splitlines()[0] == VERBS[verb].help


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_version_and_help_import_no_verb(arguments: list[str]) -> None:
    script = (
        "import sys; from harness.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_printed_wherever_the_option_stands() -> None:
    assert invoked("--version")[1] == harness("--version", cwd=Path.cwd()).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "-n", "-1"],
        ["check", "-n", "0"],
        ["benchmark", "-n", "0"],
        ["benchmark", "--steps", "0"],
        ["plan", "-r", "0"],
        ["plan", "-n", "0"],
        ["sweep", "--retries", "-1"],
        ["sweep", "--retries", "1000000"],
        ["sweep", "--time-limit", "nan"],
        ["sweep", "--start-timeout", "inf"],
        ["sweep", "--telemetry", "-1"],
        ["launch", "-n", "0", "--", "true"],
        ["launch", "-n", "1", "-s", "-1", "--", "true"],
        ["launch", "-n", "1", "--stall-timeout", "nan", "--", "true"],
        ["cluster", "up", "--nodes", "0"],
        ["cluster", "up", "--nodes", "100"],
        ["cluster", "up", "--dilation", "nan"],
        ["cluster", "up", "--cpu", "inf"],
        ["predict", "run", "--batch-size", "0"],
        ["predict", "run", "--threshold", "2"],
        ["advise", "lenet5", "mnist", "-n", "0"],
        ["advise", "lenet5", "mnist", "-n", "65"],
        ["advise", "lenet5", "mnist", "--batch-size", "0"],
        ["report", "run", "--target", "0.97"],
    ],
)
def test_numbers_out_of_bounds_are_refused(arguments: list[str], tmp_path: Path) -> None:
    done = harness(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", [["plan"], ["predict", "run"]])
def test_sizes_beyond_reason_are_not_counted_up_to(verb: list[str], tmp_path: Path) -> None:
    done = harness(*verb, "-n", "1-99999999999", cwd=tmp_path)
    assert (done.returncode, "more than 4096 nodes" in done.stderr) == (2, True)


def test_sizes_larger_than_the_cluster_are_left_out_with_a_note(inventory: Path, tmp_path: Path) -> None:
    done = harness("sweep", "--dry-run", "-i", inventory, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        f"inventory: {inventory}",
        "note: sizes left out, for the cluster has 2 nodes: 3, 4, 5, 6, 7, 8, 9, 10, 11",
    ]
    assert " 18 trials" in f" {done.stdout}"  # 2 sizes, 3 policies, 3 repeats


def test_sizes_that_were_asked_for_and_sizes_none_of_which_fits_are_an_error(inventory: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "name: own\nprogram: train.py\nparameters: {kvstore: none}\naxes: {nodes: [3, 4]}\n", encoding="utf-8"
    )
    for arguments in (["scaling", "-n", "1-3"], ["own"]):
        done = harness("plan", *arguments, "-i", inventory, cwd=tmp_path)
        assert (done.returncode, "nodes asked for, but" in done.stderr) == (2, True), done.stderr


def test_a_trial_that_does_not_fit_a_node_s_memory_is_refused_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    hosts = HOSTS.replace("node_root: %s", "node_root: %s, node_memory: 512MiB")
    path.write_text(hosts % (tmp_path / "node"), encoding="utf-8")
    asked = ["quickstart", "-i", path, "-n", "1,2", "--set", "model=alexnet_32", "--set", "dataset=patches"]
    asked += ["--set", "kvstore=allreduce"]
    for verb in (["plan"], ["sweep", "--dry-run"], ["sweep", "-o", tmp_path / "results"]):
        done = harness(*verb, *asked, "--set", "batch_size=1024", cwd=tmp_path)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "alexnet_32 with 1024 images at once needs about" in done.stderr
        assert "local-1 has 536 MB" in done.stderr
        assert "--set batch_size=" in done.stderr
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "node").exists()
    fits = harness("plan", *asked[:3], "-n", "1", "--set", "batch_size=1024", cwd=tmp_path)  # a smaller model
    assert fits.returncode == 0, fits.stderr
    images = harness("plan", *asked[:5], "--set", "batch_size=1024", cwd=tmp_path)
    assert (images.returncode, "training images do not fill one batch of 1024" in images.stderr) == (2, True)


def test_a_framework_without_servers_and_an_unknown_one_are_refused(inventory: Path, tmp_path: Path) -> None:
    def launched(*options: str) -> tuple[int, str]:
        done = harness("launch", "-n", "1", *options, "-i", inventory, "--", "true", cwd=tmp_path)
        return done.returncode, done.stderr

    code, error = launched("--framework", "torch", "-s", "1")
    assert (code, "torch has no servers" in error) == (2, True)
    code, error = launched("--framework", "nix")
    assert (code, "mxnet" in error, "torch" in error, "plain" in error) == (2, True, True, True)


@pytest.mark.parametrize("verb", ["benchmark", "check", "clean", "launch", "provision", "status", "sweep"])
def test_every_verb_that_reaches_nodes_asks_for_the_password_of_sudo(verb: str) -> None:
    options = [option for each in load(verb).params for option in each.opts]
    assert {"--ask-become-pass", "-K"} <= set(options)


def test_the_password_of_sudo_is_asked_for_and_shown_nowhere(inventory: Path, tmp_path: Path) -> None:
    done = harness("status", "-K", "-i", inventory, cwd=tmp_path, typed="correct horse\n")
    assert done.returncode == 0, done.stderr
    assert "BECOME password:" in done.stderr
    assert "horse" not in done.stdout + done.stderr
    none = harness("check", "-K", "-i", inventory, cwd=tmp_path, typed="\n")
    assert (none.returncode, "no password was given" in none.stderr) == (2, True)
    (tmp_path / "hosts").write_text("127.0.0.1\n", encoding="utf-8")
    needless = harness("launch", "-n", "1", "-K", "-H", tmp_path / "hosts", "--", "true", cwd=tmp_path)
    assert (needless.returncode, "-K: nothing runs by sudo on the hosts of a hostfile" in needless.stderr) == (2, True)


def test_completion_is_printed_and_changes_no_file(tmp_path: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        done = harness("completion", shell, cwd=tmp_path, HOME=str(tmp_path))
        assert (done.returncode, "_HARNESS_COMPLETE" in done.stdout) == (0, True)
    assert harness("--install-completion", cwd=tmp_path, HOME=str(tmp_path)).returncode == 2
    words = {"COMP_WORDS": "harness sw", "COMP_CWORD": "1", "_HARNESS_COMPLETE": "complete_bash"}
    assert harness(cwd=tmp_path, **words).stdout.split() == ["sweep"]
    words = {"COMP_WORDS": "harness sweep --re", "COMP_CWORD": "2", "_HARNESS_COMPLETE": "complete_bash"}
    assert {"--repeats", "--resume"} <= set(harness(cwd=tmp_path, **words).stdout.split())
    assert list(tmp_path.iterdir()) == []


def test_programs_are_listed_and_shown() -> None:
    code, listed, _ = invoked("programs")
    assert (code, "train.py" in listed, "train_gluon.py" in listed) == (0, True, True)
    shown = harness("programs", "train.py", cwd=Path.cwd())
    assert shown.returncode == 0, shown.stderr
    for part in ("scheduler", "the first node", "batch_size", "at least 1 (64)", "kvstore=dist_sync or dist_async"):
        assert part in shown.stdout
    assert (
        json.loads(invoked("programs", "train", "--json")[1]) == json.loads(invoked("programs", "--json")[1])["train"]
    )


@pytest.mark.parametrize("program", bundled_programs(), ids=lambda program: program.command)
def test_the_example_of_a_program_is_an_experiment(program: Program, tmp_path: Path) -> None:
    name = program.command.removesuffix(".py")
    path = tmp_path / f"my_{name}.yaml"
    path.write_text(example(program), encoding="utf-8")
    experiment = load_experiment(path)
    assert (experiment.name, experiment.program) == (f"my_{name}", program.command)
    assert invoked("programs", name)[1].endswith(path.read_text(encoding="utf-8"))
    assert experiment.axes.nodes == [1, 2, 3, 4]


def test_a_program_of_one_s_own_is_shown_from_its_directory(tmp_path: Path) -> None:
    (tmp_path / "work.py").touch()
    done = harness("programs", "work", cwd=tmp_path)
    assert (done.returncode, "program work is not in" in done.stderr) == (2, True)
    done = harness("programs", "work.py", cwd=tmp_path)
    assert (done.returncode, "one on each node" in done.stdout, "not described" in done.stdout) == (0, True, True)
    (tmp_path / "work.program.yaml").write_text(
        "command: work.py\nroles: {worker: {on: each}, server: {on: first, ends: serves}}\n"
        "parameters: {size: {type: int, minimum: 1, default: 4, help: How much.}}\n",
        encoding="utf-8",
    )
    done = harness("programs", "work", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "a whole number of at least 1 (4)" in done.stdout
    (tmp_path / "my_work.yaml").write_text("name: " + done.stdout.partition("\nname: ")[2], encoding="utf-8")
    planned = harness("plan", "my_work", "-i", "local", "-n", "2", "--json", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)[0]["ranks"] == {"local-1": ["worker0", "server0"], "local-2": ["worker1"]}


def test_playbooks_run_from_any_directory_with_the_harnesss_configuration(inventory: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    done = harness("provision", "check", "-i", inventory, "--limit", "local-1", cwd=work)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "there is no runtime" in done.stdout
    assert "local-2" not in done.stdout.partition("PLAY RECAP")[2]
    assert done.stderr.startswith(f"inventory: {inventory}\n")
    planned = harness("provision", "-i", inventory, "--check", cwd=work)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert "would be installed" in planned.stdout
    assert list(work.iterdir()) == []


def test_a_playbook_that_does_not_exist_and_bad_options_are_bad_input(inventory: Path, tmp_path: Path) -> None:
    done = harness("provision", "nix", "-i", inventory, cwd=tmp_path)
    assert (done.returncode, "there is no playbook nix" in done.stderr, "site" in done.stderr) == (2, True, True)
    assert harness("provision", "--limits", "x", cwd=tmp_path).returncode == 2


def test_an_interrupted_playbook_ends_with_its_processes(inventory: Path, tmp_path: Path) -> None:
    marker = f"ansible-playbook -i {inventory}"
    command = [sys.executable, "-m", "harness", "provision", "-i", str(inventory), "--check"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        while "PLAY" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().endswith("interrupted\n")
        assert process.wait(30) == 130
    assert not [command for command in running() if marker in command]


def running() -> list[str]:
    """The command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found
