"""Finding what a dotted name stands for: the module is imported, and nothing of it is called."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import io
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import FrameType
from typing import Any

from effbench.checks.errors import kind_and_line
from effbench.plan.given import given_object, is_given
from effbench.plan.modules import is_standard


def find_target(name: object, /) -> Callable[..., Any]:
    """Return the callable of a dotted name. ValueError, in one line that begins with "_target_=", where there is none.

    What Python itself brings along (os.system) is none: it gives no network, and calling it does who knows what.
    """
    where = f"_target_={name}"
    if is_given(name):
        return given_object(str(name)).build
    if not isinstance(name, str) or "." not in name or not all(map(str.isidentifier, name.split("."))):
        raise ValueError(f"{where}: must be a dotted name, as in my_package.my_module.my_network")
    if _is_pythons(name.partition(".")[0]):
        raise ValueError(f"{where}: is a part of Python itself; name a function or class of your own")
    module_name, _, attribute = name.rpartition(".")
    try:
        with _quietly() as printed:
            target = getattr(importlib.import_module(module_name), attribute)
    except _RaisedError as error:
        raise ValueError(f"{where}: can't be imported ({error})") from None
    except Exception as error:  # whatever stands in the module, or is said of a name that it does not have
        reason = str(error) if isinstance(error, ImportError | AttributeError) else kind_and_line(error)
        raise ValueError(f"{where}: can't be imported ({reason})") from None
    wrong = _why_no_factory(target)
    if wrong is not None:
        raise ValueError(f"{where}: {wrong}")
    sys.stderr.write(printed.getvalue())
    return target  # type: ignore[no-any-return]


def _why_no_factory(target: Any) -> str | None:
    """Return why something is no class or function of a user's."""
    if inspect.ismodule(target):
        return "is a module; name a function or class in it"
    if not callable(target):
        return "is not callable"
    inner = target.func if isinstance(target, functools.partial) else target
    if inspect.isbuiltin(inner) or inspect.ismethoddescriptor(inner):
        return "is no function or class written in Python"
    home = getattr(inspect.unwrap(inner), "__module__", None)
    if (inspect.isfunction(inner) or inspect.isclass(inner)) and _is_pythons(str(home).partition(".")[0]):
        return "is a part of Python itself; name a function or class of your own"
    return None


def _is_pythons(top: str) -> bool:
    """Whether a module of that name comes with Python; a user's own of the same name may stand before it."""
    if top not in sys.stdlib_module_names:
        return False
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return True
    origin = None if spec is None else spec.origin
    return origin in (None, "built-in", "frozen") or is_standard(str(origin))


class _RaisedError(Exception):
    """What a module raised while it was imported that would end this process."""


@contextmanager
def _quietly() -> Iterator[io.StringIO]:
    """Import something: what it prints is kept back, and what would end this process becomes an exception.

    Ctrl-C while it is imported stays what it is: the signal tells it from a KeyboardInterrupt that a module raises.
    """
    interrupted = threading.Event()
    handler = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread() and callable(handler)

    def note(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        if callable(handler):
            handler(number, frame)

    if is_main:
        signal.signal(signal.SIGINT, note)
    printed = io.StringIO()
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            yield printed
    except (SystemExit, KeyboardInterrupt) as error:
        if interrupted.is_set():
            raise
        raise _RaisedError(kind_and_line(error)) from None
    finally:
        if is_main:
            signal.signal(signal.SIGINT, handler)
