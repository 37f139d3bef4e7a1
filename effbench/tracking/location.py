"""Which tracking database is meant, where it lies, and how MLflow is told of it."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import urllib.error
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from effbench.checks.secrets import HIDDEN, hide_in_uris, login_of, remember_secrets
from effbench.checks.text import shell_quoted
from effbench.tracking.request import ask, is_address, sign_in

DATABASE = "mlflow.db"
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks", "uc")
UI_ADDRESS = "http://127.0.0.1:5000"
"""Where `mlflow ui` listens, unless it is told otherwise."""
LONGEST_PATH = 490
"""Of SQLite's 512 bytes some are for the names of its other files."""
_SQLITE = re.compile(r"sqlite(?:\+pysqlite)?:///(?P<path>.*?)(?P<options>\?\w+=[^/?]*)?", re.DOTALL)
_OPENED = Path("/proc/self/fd")
"""Where Linux has the folders that a process opened, under names without any odd character."""


def for_writing(uri: str | None, /) -> str:
    """Return the explicit URI, else MLFLOW_TRACKING_URI, else the database of the working folder."""
    return _given(uri) or f"sqlite:///{working_folder() / DATABASE}"


def for_reading(uri: str | None, /) -> str:
    """Return the explicit URI, else MLFLOW_TRACKING_URI, else the nearest database upwards from the working folder.

    ValueError where there is none: reading never creates one.
    """
    given = _given(uri)
    if given is None:
        here = working_folder()
        nearest = next((folder / DATABASE for folder in (here, *here.parents) if (folder / DATABASE).is_file()), None)
        if nearest is None:
            raise ValueError(
                f"there is no {DATABASE} in {here} or above it; run a sweep first, or give "
                "tracking.uri= (in Python tracking_uri=)"
            )
        return for_mlflow(f"sqlite:///{nearest}")
    path = sqlite_path(given)
    if path is not None and not path.is_file():
        raise ValueError(f"tracking_uri={given}: there is no database at {path}")
    return sign_in(for_mlflow(given))


def _given(uri: str | None) -> str | None:
    given = uri or os.environ.get("MLFLOW_TRACKING_URI") or None
    if given is not None:
        remember_secrets(given)
    return given


def working_folder() -> Path:
    """Return the working folder. ValueError where it is gone."""
    try:
        return Path.cwd()
    except OSError as error:
        raise ValueError(f"the working folder is gone ({error.strerror or error}); change to another one") from None


def sqlite_path(uri: str, /) -> Path | None:
    """Return the file behind a SQLite URI, or None for another kind.

    A path is taken as it stands, and percent-decoded where only that folder is there. Only what looks like options
    (?timeout=3) counts as such; a ? may be a part of the path.
    """
    match = _SQLITE.fullmatch(uri)
    if match is None:
        return None
    text = match["path"]
    if text.startswith("file:") and "uri=" in (match["options"] or ""):
        return Path(unquote(re.sub(r"^file:(//[^/]*)?", "", text)))
    path, decoded = Path(os.path.expanduser(text)), Path(os.path.expanduser(unquote(text)))
    return decoded if not path.parent.is_dir() and decoded.parent.is_dir() else path


def for_mlflow(uri: str, /) -> str:
    """Return the URI that MLflow can open. ValueError for a place that it can't write to in any way.

    SQLAlchemy takes a ? for the beginning of options and decodes what follows a %, and quotes break a migration: a
    folder with one of them in its name is opened here, and MLflow is given the system's name for what is open.
    """
    path = sqlite_path(uri)
    match = _SQLITE.fullmatch(uri)
    if path is None or match is None:
        return uri
    options = match["options"] or ""
    if match["path"].startswith("file:"):
        options = ""
    wrong = _why_unnameable(path)
    if wrong is not None:
        raise ValueError(wrong)
    if not is_odd(str(path)):
        return f"sqlite:///{path}{options}"
    return f"sqlite:///{_OPENED / str(_opened(str(path.parent)))}/{path.name}{options}"


def _why_unnameable(path: Path) -> str | None:
    """Return why no URI leads to a path."""
    if "\0" in str(path):
        return "no file has a null byte in its name; name another one"
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return f"{path.parent}: MLflow takes no name that is not UTF-8; name another folder"
    if len(os.fsencode(os.path.realpath(path))) > LONGEST_PATH:
        return f"SQLite opens no path of more than {LONGEST_PATH} bytes; name a shorter one"
    if is_odd(path.name) or (is_odd(str(path)) and not _OPENED.is_dir()):
        return f"{path}: MLflow opens no database of that name; name one of letters, digits, - and _"
    return None


def is_odd(name: str) -> bool:
    """Whether a path holds what SQLAlchemy, or a migration of MLflow's, takes for something else: ?, %, quotes, …."""
    return re.fullmatch(r"[\w \n./\\~+@=,:-]*", name) is None


@lru_cache(maxsize=64)
def _opened(folder: str) -> int:
    """Return the descriptor of a folder, which stays open as long as this process lives."""
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def ui_command(uri: str, /) -> str:
    """Return the command that shows the runs, as a shell takes it, without any password; of a server its address."""
    path, login = sqlite_path(uri), login_of(uri)
    if path is None:
        shown = hide_in_uris(uri) if login is None or not uri.startswith("http") else login.uri
        is_server = uri.partition(":")[0] in ("http", "https", "databricks", "uc")
        return shown if is_server else f"mlflow ui --backend-store-uri {shell_quoted(shown)}"
    is_here = path.parent.resolve() == working_folder()
    if is_here and path.name == DATABASE:
        return "mlflow ui"
    if not is_odd(str(path)):
        return f"mlflow ui --backend-store-uri {shell_quoted(f'sqlite:///{path}')}"
    there = "" if is_here else f"cd {shell_quoted(str(path.parent))} && "
    return f"{there}mlflow ui --backend-store-uri {shell_quoted(f'sqlite:///{path.name}')}"


def page_address(uri: str | None, path: str, /) -> str | None:
    """Return the address of a page of MLflow's, without any password: on its server, or where `mlflow ui` shows it."""
    uri = for_writing(uri)
    if uri.startswith(("databricks", "uc")):  # whose pages are others
        return None
    login = login_of(uri)
    is_server = is_address(uri)
    return f"{(login.uri if login else uri).rstrip('/') if is_server else UI_ADDRESS}{path}"


def why_unusable(uri: str, /) -> str | None:
    """Return what is wrong with a URI that can't be one, or whose server does not answer; None where nothing is.

    MLflow itself would try for minutes before it says that nobody answers.
    """
    wrong = why_no_uri(uri)
    if wrong is None and is_address(uri):
        try:
            ask(uri, "/health")
        except urllib.error.HTTPError:  # whoever refuses is there
            return None
        except OSError as error:
            return why_no_answer(error)
    return wrong


def why_no_uri(uri: str, /) -> str | None:
    """Return what is wrong with a text that is no URI of a tracking database, whoever answers there."""
    scheme = uri.partition(":")[0].partition("+")[0] if ":" in uri else uri
    if scheme not in SCHEMES:
        return "must be a server, as in http://127.0.0.1:5000, or a database, as in sqlite:///runs/mlflow.db"
    if f":{HIDDEN}@" in uri or f"={HIDDEN}" in uri:
        return "*** stands for a password that was left out: write it in its place, or into MLFLOW_TRACKING_PASSWORD"
    path = sqlite_path(uri)
    if scheme == "sqlite" and (path is None or path.name in ("", ":memory:")):
        return "names no file; name one, as in sqlite:///runs/mlflow.db"
    return None if path is None else _why_unnameable(path)


def why_no_answer(error: OSError, /) -> str:
    """Return what to say of a server that does not answer."""
    reason = getattr(error, "reason", error)
    return f"no server answers there ({getattr(reason, 'strerror', None) or reason})"


def why_unwritable(uri: str, /) -> str | None:
    """Return why nothing can be logged to a URI: it is unusable, or its database or its folder can't be written."""
    path = sqlite_path(uri)
    wrong = why_no_uri(uri)
    if path is None or wrong is not None:
        return wrong or why_unusable(uri)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if not path.exists():
            return None
        if not stat.S_ISREG(path.stat().st_mode):
            return f"{path} is no file; name another one"
        with path.open("r+b"):
            return None
    except (OSError, ValueError) as error:  # ValueError: a null byte
        return f"{path.parent} can't be written ({getattr(error, 'strerror', None) or error}); name another folder"
