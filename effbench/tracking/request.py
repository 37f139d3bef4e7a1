"""One request to an MLflow server, without MLflow, whose import takes a second, and without its minutes of patience."""

from __future__ import annotations

import base64
import configparser
import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from effbench.checks.secrets import login_of, remember_secret

ANSWER_SECONDS = 5
USER, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
"""MLflow's own variables."""
CREDENTIALS = "~/.mlflow/credentials"
"""The file in which MLflow looks for what is not in them."""
_before: dict[str, str | None] = {}
"""What stood in those variables before `sign_in` wrote there."""


def is_address(uri: str, /) -> bool:
    """Whether a URI is that of a server that speaks HTTP, not of a database."""
    return uri.startswith(("http://", "https://"))


def sign_in(uri: str, /) -> str:
    """Return a server's URI without user and password, which MLflow's own variables get; any other URI as it is.

    A URI of another server that has none takes them away again: they are not for that one.
    """
    if not is_address(uri):
        return uri
    login = login_of(uri)
    if login is None:
        for name, value in _before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        _before.clear()
        return uri
    for name, value in ((USER, login.user), (PASSWORD, login.password)):
        _before.setdefault(name, os.environ.get(name))
        os.environ[name] = value
    return login.uri


def user_of(uri: str, /) -> str | None:
    """Return as whom a server is asked; None where it is not told."""
    user, password, token = _credentials(uri)
    return user if user and password else "who has that token" if token else None


def ask(uri: str, path: str, body: Mapping[str, Any] | None = None, /, **query: str) -> bytes:
    """Return what a server answers to a GET, or to a POST of a body as JSON.

    OSError where it doesn't answer, HTTPError where it refuses.
    """
    login = login_of(uri)
    address = f"{(uri if login is None else login.uri).rstrip('/')}{path}"
    if query:
        address += f"?{urllib.parse.urlencode(query)}"
    headers, content = _authorization(uri), None
    if body is not None:
        headers["Content-Type"], content = "application/json", json.dumps(body).encode()
    try:
        request = urllib.request.Request(address, headers=headers, data=content)
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS, context=_trust()) as answer:
            answered: bytes = answer.read()
            return answered
    except ValueError as error:  # no address
        raise OSError(str(error)) from None
    except urllib.error.URLError:
        raise
    except Exception as error:  # what answers speaks no HTTP: http.client has exceptions of its own
        if isinstance(error, OSError):
            raise
        raise OSError(f"{type(error).__name__}: {error}") from None


def ask_json(uri: str, path: str, /, **query: str) -> Mapping[str, Any] | None:
    """Return what a server answers to a GET as JSON; None where what is asked for is not there."""
    try:
        answer = json.loads(ask(uri, path, **query))
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 404 and b"RESOURCE_DOES_NOT_EXIST" in error.read():
                return None
        raise
    except ValueError:
        raise OSError("what answers there is no MLflow server") from None
    if not isinstance(answer, dict):
        raise OSError("what answers there is no MLflow server")
    return answer


def _credentials(uri: str) -> tuple[str | None, str | None, str | None]:
    """Return user, password and token: those of the URI, of MLflow's variables, or of its file, in this order."""
    login = login_of(uri)
    file = configparser.ConfigParser()
    with suppress(configparser.Error, OSError, ValueError):
        file.read(os.path.expanduser(CREDENTIALS))
    kept = file["mlflow"] if "mlflow" in file else {}
    user = (login.user if login else None) or os.environ.get(USER) or kept.get(USER.lower())
    password = (login.password if login else None) or os.environ.get(PASSWORD) or kept.get(PASSWORD.lower())
    if password:
        remember_secret(password)
    return user, password, os.environ.get(TOKEN)


def _authorization(uri: str) -> dict[str, str]:
    """Return the header that says who asks, as MLflow itself would."""
    user, password, token = _credentials(uri)
    if user and password:
        return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
    return {"Authorization": f"Bearer {token}"} if token else {}


def _trust() -> ssl.SSLContext | None:
    """Return whom to believe, as MLflow's own variables say."""
    certificate = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    return ssl.create_default_context(cafile=certificate) if certificate else None
