"""How fast a virtual node is, by the stated rule, a given share or a measured board."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import BadInputError
from harness.experiment.rates import Rate, rate_rows, rates_text
from harness.virtual.cpu import convolution, profile
from harness.virtual.cpu.boards import BOARDS


def test_the_rule_divides_the_boards_rate_by_the_machines() -> None:
    quota = profile.quota_of("pi3", 15.0, None)
    assert quota.fraction == pytest.approx(1.18 / 15.0, abs=0.0001)
    assert quota.rule == profile.RULE
    assert quota.as_json()["board"]["conv_gflops"] == 1.18  # type: ignore[index]
    assert quota.model == "stretched"


def test_the_slow_end_of_a_boards_estimates_is_slower_than_the_fast_end() -> None:
    assert BOARDS["pi3-slow"].conv_gflops < BOARDS["pi3"].conv_gflops < BOARDS["pi4"].conv_gflops
    assert BOARDS["pi4-slow"].conv_gflops < BOARDS["pi4"].conv_gflops


def test_a_share_that_is_given_wins_over_the_rule() -> None:
    assert profile.quota_of("pi3", None, 0.5).fraction == 0.5
    assert not profile.needs_measurement("pi3", 0.5)
    assert profile.needs_measurement("pi3", None)


def test_without_a_board_there_is_no_limit() -> None:
    assert profile.quota_of("none", None, None).fraction is None
    assert not profile.needs_measurement("none", None)


def test_a_slow_machine_gives_more_than_a_core() -> None:
    assert profile.quota_of("pi3", 0.59, None).fraction == pytest.approx(2.0)


def test_the_rule_needs_a_measurement() -> None:
    with pytest.raises(ValueError, match="rate"):
        profile.quota_of("pi3", None, None)


@pytest.mark.parametrize(("name", "override"), [("pi9", None), ("pi3", 0.0), ("pi3", -1.0), ("none", 1e9)])
def test_profiles_and_shares_that_are_none_are_refused(name: str, override: float | None) -> None:
    with pytest.raises(BadInputError):
        profile.check(name, override)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(BadInputError, match="CPU model 'fast'") as error:
        profile.check("pi3", None, model="fast")
    assert "stretched, quota" in error.value.remedy


def test_a_quota_has_the_kernels_least_share_a_stretched_thread_has_not() -> None:
    profile.check("pi3", 0.006, dilation=10.0)
    with pytest.raises(BadInputError, match="at a dilation of 10"):
        profile.check("pi3", 0.006, dilation=10.0, model="quota")


class TestFile:
    def test_a_measured_rate_of_images_is_the_boards(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.yaml"
        file.write_text("description: my Pi\nimages_per_second: 755\n", encoding="utf-8")
        quota = profile.quota_of(str(file), 15.0, None)
        assert quota.fraction == pytest.approx(1.18 / 15.0, abs=0.0005)  # as a virtual pi3, which trains so many
        assert quota.board is not None
        assert quota.board.description == "my Pi"
        assert str(file) in quota.board.source

    @pytest.mark.parametrize(
        ("content", "word"),
        [
            ("images_per_second: -3", "positive"),
            ("images_per_second: .nan", "positive"),
            ("images_per_second: fast", "positive"),
            ("images_per_second: 3\nconv_gflops: 1", "one positive rate"),
            ("gflops: 3", "other keys"),
            ("- 3", "other keys"),
            ("{", "no YAML"),
        ],
    )
    def test_a_file_that_says_no_rate_is_refused(self, tmp_path: Path, content: str, word: str) -> None:
        file = tmp_path / "mine.yaml"
        file.write_text(content, encoding="utf-8")
        with pytest.raises(BadInputError, match=word):
            profile.check(str(file), None)

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(BadInputError, match=r"absent\.yaml"):
            profile.check(str(tmp_path / "absent.yaml"), None)


def test_it_says_when_nodes_want_more_than_there_is() -> None:
    assert profile.shortage([0.15] * 11, cpus=2) is None
    assert "up to 6 nodes" in str(profile.shortage([0.3] * 11, cpus=2))
    assert "compete" in str(profile.shortage([None, 0.1], cpus=2))
    assert profile.shortage([None], cpus=2) is None
    assert profile.shortage([0.3] * 11, dilation=3, cpus=2) is None
    assert "3 nodes of 0.5 or 1 cores want 2.00" in str(profile.shortage([1.0, 0.5, 0.5], cpus=2))


def test_the_convolution_is_the_sum_that_it_is_by_hand() -> None:
    generator = np.random.default_rng(1)
    images = generator.random((2, 3, 8, 8), dtype=np.float32)
    weights = generator.random((3 * 25, 4), dtype=np.float32)
    found = convolution.convolve(images, weights)
    assert found.shape == (2, 16, 4)
    by_hand = images[1, :, 2:7, 3:8].reshape(-1) @ weights[:, 2]
    assert found[1, 2 * 4 + 3, 2] == pytest.approx(by_hand, rel=1e-5)


class TestBenchmark:
    def written(self, directory: Path, model: str) -> Path:
        rates = [Rate("pi01", "192.0.2.1", 0.010, 0.0010), Rate("pi02", "192.0.2.2", 0.012, 0.0010)]
        text = rates_text({"experiment": "lenet_scaling", "model": model}, rate_rows(rates, 64))
        (directory / profile.RATES_FILE).write_text(text, encoding="utf-8")
        return directory

    def test_a_benchmarks_rates_are_a_profile(self, tmp_path: Path) -> None:
        for place in (self.written(tmp_path, "lenet5"), tmp_path / profile.RATES_FILE):
            board = profile.board_of(str(place))
            assert board is not None
            assert board.conv_gflops == pytest.approx(64 / 0.075 * profile.GFLOPS_OF_AN_IMAGE, rel=1e-3)
            assert "pi01, pi02" in board.description

    def test_rates_of_another_model_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadInputError, match="not measured with lenet5"):
            profile.board_of(str(self.written(tmp_path, "mlp")))

    def test_a_directory_without_rates_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(BadInputError, match=r"rates\.csv cannot be read"):
            profile.board_of(str(tmp_path))
