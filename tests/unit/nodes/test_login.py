"""What OpenSSH's settings become, which keys are tried in which order, and whose host key is believed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInputError
from harness.nodes.connection.keys import Credentials, public_blob
from harness.nodes.connection.known_keys import known_keys
from harness.nodes.connection.login import Login, login_of, parse_settings, read_login
from harness.nodes.connection.reach import reached
from harness.nodes.connection.resolve import plain, without
from harness.nodes.inventory import Node

SETTINGS = """\
host pi
user pi
hostname 192.0.2.7
port 2222
passwordauthentication yes
identitiesonly yes
stricthostkeychecking {checking}
identityfile ~/.ssh/id_%r
identityfile "/keys/a b"
userknownhostsfile /a/known_hosts /b/known_hosts
globalknownhostsfile none
connecttimeout 3
{more}
"""


def login(checking: str = "ask", more: str = "", command: tuple[str, ...] = ("ssh",), **given: Any) -> Login:
    return login_of(parse_settings(SETTINGS.format(checking=checking, more=more)), command, "pi", **given)


def test_settings_become_a_login() -> None:
    found = login()
    assert (found.host, found.port, found.user, found.only_these_keys) == ("192.0.2.7", 2222, "pi", True)
    assert found.keys == (str(Path.home() / ".ssh/id_pi"), "/keys/a b")
    assert found.known_hosts == ("/a/known_hosts", "/b/known_hosts")
    assert (found.connect_seconds, found.checking, found.proxy) == (3, "yes", ())


@pytest.mark.parametrize(
    ("said", "means"), [("true", "yes"), ("ask", "yes"), ("accept-new", "accept-new"), ("false", "no"), ("no", "no")]
)
def test_host_keys_are_checked_as_ssh_would(said: str, means: str) -> None:
    assert login(said).checking == means


def test_the_last_jump_is_asked_for_the_way_and_those_before_lead_to_it() -> None:
    found = login(more="proxyjump a@one:22,b@two:2200", command=("ssh", "-F", "/config"))
    words = list(found.proxy)
    assert words[1:9] == ["-F", "/config", "-l", "b", "-p", "2200", "-J", "a@one:22"]
    assert words[-3:] == ["-W", "[192.0.2.7]:2222", "two"]


def test_tokens_of_a_proxy_command_are_filled_in() -> None:
    assert login(more="proxycommand nc -X 5 %h %p # %r%%").proxy[-1] == "exec nc -X 5 192.0.2.7 2222 # pi%"


def test_a_password_is_shown_nowhere_and_typed_only_where_ssh_may() -> None:
    found = login(password="raspberry")  # noqa: S106 - a test's
    assert found.password == "raspberry"  # noqa: S105 - a test's
    node = Node("a", "192.0.2.7", False, "/opt/harness", login=found)
    assert "raspberry" not in repr(found) + repr(node)
    assert login(more="preferredauthentications publickey", password="x").password is None  # noqa: S106 - a test's


def test_ssh_that_refuses_its_options_is_named() -> None:
    with pytest.raises(BadInputError, match="nosuchoption") as refused:
        read_login(["ssh", "-o", "NoSuchOption=1"], "pi")
    assert "ansible_ssh_common_args" in refused.value.remedy
    with pytest.raises(BadInputError, match="is not installed"):
        read_login(["/nowhere/ssh"], "pi")


def make_key(file: Path, secret: str = "") -> bytes:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", secret, "-f", str(file)], check=True, timeout=60)
    found = public_blob(file)
    assert found is not None
    return found


def test_the_public_part_is_found_beside_within_and_in_itself(tmp_path: Path) -> None:
    blob = make_key(tmp_path / "key", "secret")
    assert public_blob(tmp_path / "key.pub") == blob
    (tmp_path / "key.pub").rename(tmp_path / "other.pub")
    assert public_blob(tmp_path / "key") == blob
    (tmp_path / "text").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END\n", encoding="ascii")
    assert public_blob(tmp_path / "text") is None
    assert public_blob(tmp_path / "nothing") is None


def test_why_a_key_is_of_no_use_is_told(tmp_path: Path) -> None:
    make_key(tmp_path / "encrypted", "secret")
    make_key(tmp_path / "good")
    files = ("encrypted", "good.pub", "nothing", "good")
    credentials = Credentials(Login("pi", "192.0.2.7", user="pi", keys=tuple(str(tmp_path / name) for name in files)))
    assert [str(source.path) for source in credentials.get_sources()] == [str(tmp_path / "good")]  # type: ignore[attr-defined]
    assert [each.partition(" ")[2] for each in credentials.obstacles] == [
        "is encrypted, and no agent has it", "agent has the private key of " + str(tmp_path / "good.pub"),
    ]  # fmt: skip


def test_host_keys_are_found_by_name_port_pattern_and_hash(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    key = " ".join((tmp_path / "key.pub").read_text(encoding="utf-8").split()[:2])
    known = tmp_path / "known_hosts"

    def count(text: str, host: str = "pi", port: int = 22, known_as: str | None = None) -> int:
        known.write_text(text, encoding="utf-8")
        one = Login("pi", host, port=port, known_hosts=(str(tmp_path / "absent"), str(known)), known_as=known_as)
        return len(list(known_keys(one)))

    assert count(f"pi {key}\n") == 1
    assert count(f"pi {key}\n", port=2222) == 0
    assert count(f"[pi]:2222 {key}\n", port=2222) == 1
    assert count(f"rack {key}\n", port=2222, known_as="rack") == 1
    assert count(f"192.0.2.* {key}\n", host="192.0.2.9") == 1
    assert count(f"pi {key}\npi {key}\n@cert-authority pi {key}\nbroken\n") == 2
    known.write_text(f"pi {key}\n", encoding="utf-8")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True, timeout=60)
    assert len(list(known_keys(Login("pi", "pi", known_hosts=(str(known),))))) == 1
    with pytest.raises(FileNotFoundError):
        list(known_keys(Login("pi", "pi", known_hosts=(str(tmp_path / "absent"),))))


def test_a_python_that_is_looked_for_is_the_first_that_is_there() -> None:
    node = Node("a", "192.0.2.7", False, "/opt/harness", pythons=("python3.99", "python3"))
    done = subprocess.run(
        [*node.interpreter, "-c", "import sys; print(sys.argv)", "a b"], capture_output=True, check=True
    )
    assert done.stdout == b"['-c', 'a b']\n"
    none = Node("a", "192.0.2.7", False, "/opt/harness", pythons=("python3.99",))
    failed = subprocess.run([*none.interpreter, "-c", ""], capture_output=True, check=False)
    assert failed.returncode == 127
    assert b"there is no Python 3" in failed.stderr


def test_a_board_that_is_controller_and_node_has_the_address_that_others_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.nodes.connection.reach.own_address", lambda peer: f"own to {peer}")
    hosts = {
        "head": {"ansible_connection": "local"},
        "pi01": {"ansible_host": "192.0.2.1"},
        "pi02": {"ansible_host": "127.0.0.2", "ansible_connection": "local"},
    }
    found = {name: each["ansible_host"] for name, each in reached(hosts, Path("/inventory")).items()}
    assert found == {"head": "own to 192.0.2.1", "pi01": "192.0.2.1", "pi02": "127.0.0.2"}


def test_a_name_without_an_address_is_told_with_the_way_out() -> None:
    with pytest.raises(BadInputError, match="host a: ansible_host 'no name' is no name") as refused:
        reached({"a": {"ansible_host": "no name"}}, Path("/inventory"))
    assert "IP address" in refused.value.remedy


def test_what_ansible_marks_is_plain_text_again() -> None:
    class Marked(str):
        __slots__ = ()

    assert plain({"a": [Marked("x"), 1, None, True]}) == {"a": ["x", 1, None, True]}
    assert without(["ssh", "-o", "A=1", "-o", "B=2"], ("A=1",)) == ["ssh", "-o", "B=2"]
