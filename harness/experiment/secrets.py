"""What is a secret: by its name, for environment variables, parameters and words of a command line alike, or in a URL. Pure.

A name is cut into words, at underscores and the like and where capital letters begin: `DB_PASS`, `api-key`, `authToken`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

HIDDEN = "(not kept)"

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_WORDS = frozenset({
    "auth", "authorization", "bearer", "cookie", "cred", "credential", "credentials", "creds", "jwt", "key", "pass",
    "passphrase", "passwd", "password", "passwords", "pw", "pwd", "secret", "secrets", "signature", "token",
})  # fmt: skip
_ENDS = (
    "apikey", "accesskey", "authkey", "privatekey", "secretkey", "sshkey", "password", "passwd", "passphrase", "pgpass",
    "sshpass", "secret", "token", "credential", "credentials",
)  # fmt: skip
_NO_SECRETS = frozenset({"PWD", "OLDPWD"})  # directories
_URL = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#:@]*):(?P<secret>[^\s/?#]*)@")
_QUERY = re.compile(r"(?P<before>[?&;](?P<name>[\w.-]+)=)(?P<secret>[^\s&;#]+)")
_OPTION = re.compile(r"-{1,2}(?P<name>[A-Za-z][\w.-]*)")
_SETTING = re.compile(r"(?P<name>(?:--\w+=)?[-\w.]+)=", re.ASCII)


def is_secret_name(name: str) -> bool:
    """Whether a name says that its value is a secret."""
    words = [word.lower() for word in _WORD.findall(name)]
    return name not in _NO_SECRETS and any(word in _WORDS or word.endswith(_ENDS) for word in words)


def without_secrets(text: str) -> str:
    """The text without passwords of URLs (`scheme://user:password@host`, `?token=...`)."""
    text = _URL.sub(lambda found: f"{found['before']}:{HIDDEN}@", text)
    return _QUERY.sub(lambda found: found["before"] + HIDDEN if is_secret_name(found["name"]) else found[0], text)


def has_secret(name: str, value: object) -> bool:
    """Whether a value of this name is a secret, or a text that has one in it. Numbers and truth values are none."""
    return isinstance(value, str) and bool(value) and (is_secret_name(name) or without_secrets(value) != value)


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the values of secrets; a value may be what was measured, so all others stay."""
    return {
        name: HIDDEN if value and is_secret_name(name) else without_secrets(value)
        for name, value in environment.items()
    }


def kept_words(command: Iterable[str]) -> list[str]:
    """A command line's words without secrets: `--env API_TOKEN=...`, `--password=...`, `--password ...`, `-pDB_PASS=...`."""
    words: list[str] = []
    hide_next = False
    for word in command:
        option, setting = _OPTION.fullmatch(word), _SETTING.match(word)
        if hide_next and not (option and word.startswith("--")):
            words.append(HIDDEN)
        elif setting and any(is_secret_name(name) for name in _names_of(setting["name"])):
            words.append(f"{setting[0]}{HIDDEN}")
        else:
            words.append(without_secrets(word))
        hide_next = bool(option and is_secret_name(option["name"]))
    return words


def settings_with_secrets(settings: Iterable[str]) -> list[str]:
    """The names of those settings NAME=VALUE that put a secret on the command line."""
    pairs = [setting.partition("=") for setting in settings]
    return [name for name, equals, value in pairs if equals and has_secret(name, value)]


def _names_of(setting: str) -> list[str]:
    """What is set by `--env=NAME`, `-eNAME` or `-qeNAME`; short options may be any letters."""
    name = setting.rpartition("=")[2]
    letters = len(name) - len(name.lstrip("-"))
    return [name] if letters != 1 else [name[start:] for start in range(1, min(5, len(name)))]
