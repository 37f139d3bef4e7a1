"""Passwords and tokens kept out of whatever is printed, logged or kept."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

HIDDEN = "***"
"""What stands where a secret was."""

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
# Up to the last @, as passwords hold @, / and : unencoded more often than they should.
_PASSWORD = re.compile(rf"({_SCHEME}[^\s:/?#@'\"]*:)(?!//)\S+(?=@)")
_TOKEN_AS_USER = re.compile(rf"({_SCHEME})[\w.-]{{20,}}(?=@)")
_IN_QUERY = re.compile(r"(?P<before>[?&;])(?P<name>[\w.%-]+)=(?P<value>[^&;\s'\"]+)")
_SECRET_NAME = re.compile(
    r"passw(or)?d|^pwd$|passphrase|token$|secret|^sig$|signature|credential|api_?key|access_?key|^auth", re.IGNORECASE
)
_ALONE = re.compile(r"(?P<before>(?<![\w.%-]))(?P<name>passw(?:or)?d|pwd)=(?P<value>[^\s'\"]+)", re.IGNORECASE)
_SECRET_VARIABLE = re.compile(r"PASSW(OR)?D|_PWD$|TOKEN$|SECRET|CREDENTIAL|API_?KEY|ACCESS_KEY")
_SHORTEST_ANYWHERE, _SHORTEST_ALONE = 8, 4
_known: set[str] = set()


@dataclass(frozen=True)
class Login:
    """A URI without its user and password, and these, percent-decoded."""

    uri: str
    user: str
    password: str


def login_of(uri: str, /) -> Login | None:
    """Return the user and the password that a URI holds, and the URI without; None where it holds none.

    >>> login_of("http://me:p%40ss@there:5000/x")
    Login(uri='http://there:5000/x', user='me', password='p@ss')
    >>> login_of("http://there:5000/x@y")
    """
    scheme, separator, rest = uri.partition("://")
    end = rest.rfind("@")
    is_path = re.match(
        r"(\[[^\]]*\]|[^/?#@:]*)(:\d*)?[/?#]", rest
    )  # what comes before it is a host, perhaps with its port
    if not separator or end < 0 or is_path:
        return None
    user, _, password = rest[:end].partition(":")
    return Login(f"{scheme}://{rest[end + 1 :]}", unquote(user), unquote(password))


def remember_secrets(uri: str, /) -> None:
    """Note the secrets of a URI: `without_secrets` takes them out wherever they stand alone, too."""
    login = login_of(uri)
    if login is not None and login.password:
        raw = uri.partition("://")[2].rpartition("@")[0].partition(":")[2]
        _known.update((login.password, raw, quote(login.password, safe="")))
    for match in _IN_QUERY.finditer(uri):
        if _is_secret(match["name"]):
            _known.update((match["value"], unquote(match["value"])))


def remember_secret(secret: str, /) -> None:
    """Note a secret that stood in a file: `without_secrets` takes it out wherever it stands."""
    _known.add(secret)


def hide_in_uris(text: str, /) -> str:
    """Return a text with *** for the passwords and tokens of the URIs, and of the name=value pairs, in it.

    >>> hide_in_uris("can't reach http://me:p@ss/word@there:5000/x?token=abc&page=2")
    "can't reach http://me:***@there:5000/x?token=***&page=2"
    """
    if "=" not in text and "@" not in text:
        return text
    text = _TOKEN_AS_USER.sub(rf"\1{HIDDEN}", _PASSWORD.sub(rf"\1{HIDDEN}", text))
    return _ALONE.sub(_hide_value, _IN_QUERY.sub(_hide_value, text))


def hide_in_values(node: Any, /) -> Any:
    """Return a configuration, or any value of one, with *** for the secrets in its texts."""
    if isinstance(node, Mapping):
        return {name: hide_in_values(value) for name, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(hide_in_values(value) for value in node)
    return hide_in_uris(node) if isinstance(node, str) else node


def without_secrets(text: str, /) -> str:
    """Return a text for users without any secret: those of URIs, those remembered, those of the environment."""
    text = hide_in_uris(text)
    for secret in sorted(_secrets(), key=len, reverse=True):
        if len(secret) >= _SHORTEST_ANYWHERE:
            text = text.replace(secret, HIDDEN)
        elif len(secret) >= _SHORTEST_ALONE and secret in text:
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])", HIDDEN, text)
    return text


def _secrets() -> set[str]:
    of_environment = (value for name, value in os.environ.items() if _SECRET_VARIABLE.search(name))
    return {*_known, *(value for value in of_environment if len(value) >= _SHORTEST_ANYWHERE)}


def hide_by_names(node: Any, name: str = "", /) -> Any:
    """Return a configuration with *** for the texts under keys that are called as secrets are: token, api_key.

    >>> hide_by_names({"model": {"hf_token": "hf_abcdefgh", "pad_token": "<pad>", "width": 3}})
    {'model': {'hf_token': '***', 'pad_token': '<pad>', 'width': 3}}
    """
    if isinstance(node, Mapping):
        return {key: hide_by_names(value, str(key)) for key, value in node.items()}
    is_text = isinstance(node, str) and len(node) >= _SHORTEST_ANYWHERE
    return HIDDEN if is_text and _is_secret(name) else node


def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(unquote(name).rpartition(".")[2]) is not None


def _hide_value(match: re.Match[str]) -> str:
    return f"{match['before']}{match['name']}={HIDDEN}" if _is_secret(match["name"]) else match[0]
