"""What a run directory keeps of environment variables."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from launch_parts import CLUSTER

from harness.check.preflight import Preflight
from harness.cli.inputs import declared_experiment, told_environment
from harness.errors import BadInputError
from harness.experiment.declaration import Experiment, validate
from harness.experiment.secrets import is_secret_name, without_secrets
from harness.results.manifest import experiment_digest, make_manifest
from harness.results.redaction import HIDDEN, kept, kept_words


def declared(token: str = "hush", **environment: Any) -> Experiment:  # noqa: S107
    variants = {"own": {"environment": {"DB_PASSWORD": token, "BOUND": "2"}}}
    document = {"name": "e", "program": "train.py", "environment": {"API_TOKEN": token, **environment}}
    return validate({**document, "variants": variants}, "test")


@pytest.mark.parametrize(
    "name", ["API_TOKEN", "AWS_SECRET", "Password", "SSH_KEY_FILE", "AWS_ACCESS_KEY_ID", "apikey", "CREDENTIALS"]
)
def test_a_secret_is_kept_by_name_alone(name: str) -> None:
    assert kept({name: "hush"}) == {name: HIDDEN}


def test_what_was_measured_is_kept() -> None:
    measured = {"MXNET_KVSTORE_BIGARRAY_BOUND": "10000", "MXNET_ENGINE_TYPE": "NaiveEngine", "OMP_NUM_THREADS": "1"}
    assert kept(measured) == measured


@pytest.mark.parametrize("before", ["", "-e", "--env=", "-qe"])
def test_a_secret_on_the_command_line_is_not_kept(before: str) -> None:
    words = ["sweep", "--set", "epochs=1", f"{before}API_TOKEN=hush=hush", f"{before}BOUND=1", "--retries=2"]
    assert kept_words(words) == [*words[:3], f"{before}API_TOKEN={HIDDEN}", *words[4:]]


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASS", "AUTH", "api_key", "apiKey", "authToken", "PGPASSWORD", "SSHPASS", "x-api-key", "HTTP_AUTHORIZATION",
        "DB_PWD", "JWT", "AWS_SESSION_TOKEN", "GITHUBTOKEN", "cookie", "client.secret",
    ],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)
    assert kept({name: "hush"}) == {name: HIDDEN}
    assert kept({name: ""}) == {name: ""}


@pytest.mark.parametrize(
    "name",
    [
        "MAX_TOKENS",
        "monkey",
        "PWD",
        "OLDPWD",
        "PATH",
        "compass",
        "author",
        "keyboard",
        "BYPASS",
        "passes",
        "kvstore",
        "pin",
        "",
    ],
)
def test_names_of_what_is_none(name: str) -> None:
    assert not is_secret_name(name)
    assert kept({name: "64"}) == {name: "64"}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://me:hush@db:5432/x?sslmode=on", f"postgres://me:{HIDDEN}@db:5432/x?sslmode=on"),
        ("redis://:hush@db", f"redis://:{HIDDEN}@db"),
        ("amqp://me:hu:sh@db, http://a:hush@b", f"amqp://me:{HIDDEN}@db, http://a:{HIDDEN}@b"),
        ("https://x/y?a=1&access_token=hush&b=2", f"https://x/y?a=1&access_token={HIDDEN}&b=2"),
        ("s3://bucket?X-Amz-Signature=hush", f"s3://bucket?X-Amz-Signature={HIDDEN}"),
        ("http://me@host:80/a", "http://me@host:80/a"),
        ("http://10.0.0.1:8080/@home", "http://10.0.0.1:8080/@home"),
        ("me@host:2222", "me@host:2222"),
    ],
)
def test_a_url_is_kept_without_its_password(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
    assert kept({"DATABASE_URL": url}) == {"DATABASE_URL": shown}
    assert kept_words(["python", url, f"--url={url}"]) == ["python", shown, f"--url={shown}"]


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["--password", "hush", "--epochs", "1"], ["--password", HIDDEN, "--epochs", "1"]),
        (["--api-key=hush"], [f"--api-key={HIDDEN}"]),
        (["--set", "api_key=hush,other"], ["--set", f"api_key={HIDDEN}"]),
        (["-eAUTH=hush"], [f"-eAUTH={HIDDEN}"]),
        (["-qepass=hush"], [f"-qepass={HIDDEN}"]),
        (["--env", "DB_PASS"], ["--env", "DB_PASS"]),
        (["--token", "--quiet"], ["--token", "--quiet"]),
    ],
)
def test_a_command_line_is_kept_without_secrets(command: list[str], shown: list[str]) -> None:
    assert kept_words(command) == shown


@pytest.mark.parametrize(
    ("name", "value"), [("api_key", "hush"), ("auth", "hush"), ("database", "postgres://me:hush@db/x")]
)
def test_a_parameter_cannot_be_a_secret_since_it_would_be_on_command_lines(
    tmp_path: Path, name: str, value: str
) -> None:
    (tmp_path / "mine.py").write_text("")
    document: dict[str, Any] = {"name": "e", "program": "mine.py", "parameters": {name: value}}
    swept = {"name": "e", "program": "mine.py", "parameters": {name: 1}, "axes": {"nodes": 1, name: ["x", value]}}
    varied = {
        "name": "e",
        "program": "mine.py",
        "parameters": {name: 1},
        "variants": {"v": {"parameters": {name: value}}},
    }
    for each in (document, swept, varied):
        with pytest.raises(BadInputError, match="every user of a node sees") as refused:
            validate(each, "test", directory=tmp_path)
        assert f"--env {name.upper()}" in refused.value.remedy
        assert "hush" not in f"{refused.value.message} {refused.value.remedy}"
    document["parameters"] = {"max_tokens": "64", name: 64}
    assert validate(document, "test", directory=tmp_path).parameters == {"max_tokens": "64", name: 64}


def test_a_variable_of_the_harness_own_environment_is_given_without_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DB_PASS", "hush")
    assert told_environment(["DB_PASS", "BOUND=1", "ABSENT"]) == ["DB_PASS=hush", "BOUND=1", "ABSENT"]
    assert told_environment(["URL=http://a:hush@b", "API_TOKEN=hush"])
    assert told_environment(None) == []
    with pytest.raises(BadInputError, match="no variable of that name is set here"):
        declared_experiment(Path("quickstart"), None, None, None, ["ABSENT_HERE"], None)
    said = capsys.readouterr().err
    assert "hush" not in said
    assert [name for name in ("DB_PASS", "BOUND", "URL", "API_TOKEN") if f"sees {name} on" in said] == [
        "URL",
        "API_TOKEN",
    ]


def test_no_secret_is_in_a_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["harness", "sweep", "--env", "API_TOKEN=hush"])
    manifest = make_manifest(declared(BOUND="1"), [], CLUSTER, Preflight(), "code", datetime.now(UTC))
    assert "hush" not in json.dumps(manifest)
    assert manifest["experiment"]["environment"] == {"API_TOKEN": HIDDEN, "BOUND": "1"}
    assert manifest["experiment"]["variants"]["own"]["environment"] == {"DB_PASSWORD": HIDDEN, "BOUND": "2"}


def test_what_is_kept_tells_experiments_apart() -> None:
    assert experiment_digest(declared()) == experiment_digest(declared("another"))
    assert experiment_digest(declared(BOUND="1")) != experiment_digest(declared(BOUND="2"))
