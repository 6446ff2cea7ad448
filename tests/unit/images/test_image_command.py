"""`harness image`: what it says about wrong arguments, in the words of the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.nodes import image
from harness.errors import BadInputError, HarnessError
from harness.images import __main__ as steps
from harness.images.nodes.make import made_for

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITestKeyOnly somebody"
NODE = {"name": "pi01", "address": "10.0.0.1", "user": "pi", "authorized_keys": [KEY]}


def refused(*arguments: str | Path) -> HarnessError:
    done = CliRunner().invoke(image.app, [str(argument) for argument in arguments])
    assert isinstance(done.exception, HarnessError), done.output
    assert done.exception.exit_code == 2
    return done.exception


@pytest.fixture
def key(tmp_path: Path) -> Path:
    (tmp_path / "key.pub").write_text(f"{KEY}\n")
    (tmp_path / "key").write_text("private")
    return tmp_path / "key"


@pytest.mark.parametrize(
    ("arguments", "says", "try_"),
    [
        (["--address", "pi01.local"], "is no IP address", "--prefix-length"),
        (["--address", "10.0.0.1", "--user", "root"], "cannot be the node's user", "set --user to"),
        (["--address", "10.0.0.1", "--dhcp"], "needs the board's MAC", "set --mac for it, or leave out --dhcp"),
        (["--address", "10.0.0.1", "--gateway", "192.168.0.1"], "outside 10.0.0.0/24", "correct --gateway"),
        (["--address", "10.0.0.1", "--base", "/nowhere.img"], "/nowhere.img: no such base image", "harness image base"),
    ],
)
def test_a_wrong_node_is_refused_in_the_words_of_the_options(
    arguments: list[str], says: str, try_: str, key: Path, tmp_path: Path
) -> None:
    error = refused("node", "pi01", "--key", key, "--images", tmp_path / "images", *arguments)
    assert says in error.message
    assert try_ in error.remedy
    assert not list(tmp_path.glob("images/*.img"))


def test_the_users_own_key_is_never_made(tmp_path: Path) -> None:
    error = refused("node", "pi01", "--address", "10.0.0.1", "--key", tmp_path / "none", "--images", tmp_path)
    assert "none.pub: no such public key" in error.message
    assert "--key" in error.remedy
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "says", "try_"),
    [
        (["--archive", "/nowhere.img.xz"], "is no SHA-256", "set --sha256"),
        (["--archive", "/nowhere.img.xz", "--sha256", "0" * 64], "/nowhere.img.xz: no such file", "set --archive"),
    ],
)
def test_a_wrong_archive_is_refused(
    arguments: list[str], says: str, try_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    error = refused("base", "--images", tmp_path, *arguments)
    assert says in error.message
    assert try_ in error.remedy


def test_an_image_that_was_not_made_is_neither_verified_nor_written(tmp_path: Path) -> None:
    for verb in (["verify", "pi09"], ["write", "pi09", "/dev/null"], ["write", tmp_path / "pi09.img", "/dev/null"]):
        error = refused(*verb, "--images", tmp_path)
        assert f"{tmp_path / 'pi09.img'}: no such image" in error.message
        assert "harness image node" in error.remedy


def test_an_image_knows_the_node_it_was_made_for(tmp_path: Path) -> None:
    made = tmp_path / "pi01.img"
    made.write_bytes(b"")
    with pytest.raises(BadInputError, match="no record of what it was made from"):
        made_for(made)
    (tmp_path / "pi01.json").write_text(json.dumps({"inputs": {"node": NODE, "host_key": "ssh-ed25519 AAAA"}}))
    node, host_key = made_for(made)
    assert (node.name, node.address, node.user, node.authorized_keys) == ("pi01", "10.0.0.1", "pi", (KEY,))
    assert host_key == "ssh-ed25519 AAAA"


def test_stopping_what_does_not_run_is_no_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(image.app, ["stop", "pi01", "--images", str(tmp_path)])
    assert done.exit_code == 0
    assert "was not running" in done.output


def test_figures_are_shown_beside_what_they_may_take(tmp_path: Path) -> None:
    error = refused("figures", "--images", tmp_path)
    assert "nothing was measured" in error.message
    (tmp_path / "figures.json").write_text(json.dumps({"node_seconds": {"pi01": 1.0, "pi02": 9.5}}))
    done = CliRunner().invoke(image.app, ["figures", "--images", str(tmp_path)])
    assert done.output == "node_seconds: 9.5 s, at most 5.0 s: missed\n"


def test_an_unknown_step_is_told_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["harness.images", "nothing"])
    assert steps.main() == 2
    said = capsys.readouterr().err
    assert "error: name one step" in said
    assert "base-debian" in said
