"""`harness image` on small hand-made cards and loop devices."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import image_cards as cards
import pytest

from harness.images import card

pytestmark = cards.need_tools


@pytest.fixture(scope="module")
def bookworm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cards.make_rpios(tmp_path_factory.mktemp("bookworm"), cards.BOOKWORM)


@pytest.fixture
def blank(tmp_path: Path) -> Iterator[str]:
    with cards.blank_card(tmp_path) as loop:
        yield loop


def harness_image(*arguments: str | Path, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", "image", *arguments],
        cwd=cards.REPOSITORY,
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_makes_one_node_pins_it_and_changes_nothing_again(tmp_path: Path, bookworm: Path) -> None:
    arguments = ["node", "pi01", "--address", "10.0.0.1", "--base", bookworm, "--images", tmp_path / "out"]
    runs = [harness_image(*arguments) for _ in range(2)]
    image = tmp_path / "out/pi01.img"
    assert [(done.returncode, done.stdout.strip()) for done in runs] == [(0, str(image))] * 2, runs[0].stderr
    assert "made in" in runs[0].stderr
    assert "nothing to change" in runs[1].stderr
    address, kind, key = (tmp_path / "out/known_hosts").read_text().split()
    assert address == "10.0.0.1,pi01"
    cards.check_identity(image, f"{kind} {key}")
    assert (tmp_path / "out/id_ed25519.pub").read_text().strip().encode() in (
        card.fat_read(card.open_card(image), "firstrun.sh") or b""
    )
    assert (tmp_path / "out").stat().st_mode & 0o077 == 0


@cards.need_loops
def test_the_command_looks_first_and_writes_what_was_confirmed(bookworm: Path, blank: str) -> None:
    looked = harness_image("write", bookworm, blank, "--allow-loop", "--dry-run")
    assert looked.returncode == 0, looked.stderr
    assert f"--serial {cards.token(blank)}" in looked.stderr
    asked = harness_image("write", bookworm, blank, "--allow-loop", typed=cards.token(blank))
    assert asked.returncode == 2
    assert "nobody is there to confirm it" in asked.stderr
    wrong = harness_image("write", bookworm, blank, "--allow-loop", "--serial", "another")
    assert wrong.returncode == 2
    assert "is not its serial" in wrong.stderr
    assert cards.untouched(blank)
    done = harness_image("write", bookworm, blank, "--allow-loop", "--serial", cards.token(blank))
    assert done.returncode == 0, done.stderr
    assert f"{bookworm.stat().st_size} B written" in done.stdout
    with Path(blank).open("rb") as read:
        assert read.read(bookworm.stat().st_size) == bookworm.read_bytes()


@cards.need_loops
def test_the_command_refuses_in_the_words_of_its_options(bookworm: Path, blank: str) -> None:
    done = harness_image("write", bookworm, blank, "--dry-run", "--max-gib", "0.1")
    assert done.returncode == 2
    assert "no whole disk but loop" in done.stderr
    assert "(--max-gib)" in done.stderr
