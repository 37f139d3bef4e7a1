"""What a value of Python is, as a digest: equal values have equal ones, also in another process and after a restart.

Of what can be imported the sources count (`source_code`); of what was typed into a notebook the compiled code, with all
that it refers to. Nothing of it depends on addresses, the order of sets or what else a program holds.
"""

from __future__ import annotations

import copyreg
import dis
import functools
import hashlib
import inspect
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from effbench.checks.errors import kind_and_line
from effbench.plan.importable import is_importable
from effbench.plan.source_code import is_own, module_identity, source_identity

_PLAIN = (type(None), bool, int, complex, str, bytes, bytearray, type(Ellipsis), type(NotImplemented), range)
_MERGED = (tuple, frozenset, CodeType)
"""Kinds of which Python may keep equal ones once, or not: that two are the same object says nothing."""
_NO_CONTENT = (
    "__module__", "__doc__", "__dict__", "__weakref__", "__qualname__", "__firstlineno__", "__static_attributes__",
    "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__slots__", "__match_args__",
    "__dataclass_fields__", "_abc_impl", "__abstractmethods__", "__orig_bases__", "__parameters__",
)  # fmt: skip
"""Attributes of a class that say nothing of what it does, or follow from others."""
_OF_MODULES = (
    "training", "_parameters", "_buffers", "_modules", "_is_full_backward_hook", "_is_torch_compile",
    "_compiled_call_impl",
)  # fmt: skip
"""Attributes of `nn.Module` that are its mode, how it is run, or are gone through apart."""


def content_digest(value: object, /, *, with_numbers: bool = True) -> str:
    """Return a digest of a value, of 16 hexadecimal digits.

    with_numbers: whether the numbers in tensors count, or only their kinds and shapes: those of a network's code.

    Tensors and arrays count by every number in them, networks by their classes, attributes and weights (not by whether
    they are in training mode), functions and classes by what they do. ValueError, in one line, for what has no content
    of its own to compare: a lock, an open file, a generator.
    """
    return _Digest(with_numbers=with_numbers).of(value).hexdigest()[:16]


class _Digest:
    """A digest that is fed values; it remembers those that it has met, which may hold each other."""

    def __init__(self, *, with_numbers: bool = True) -> None:
        self._hash = hashlib.sha256()
        self._with_numbers = with_numbers
        self._met: dict[int, int] = {}
        self._alive: list[object] = []

    def hexdigest(self) -> str:
        """Return the digest of what was fed."""
        return self._hash.hexdigest()

    def of(self, value: Any) -> _Digest:
        """Feed a value; returns itself."""
        if type(value) in _PLAIN:
            self._put(type(value).__name__, repr(value))
        elif type(value) is float:
            self._put("float", struct.pack("<d", value))
        elif id(value) in self._met:
            self._put("again", str(self._met[id(value)]))
        else:
            if not isinstance(value, _MERGED):
                self._met[id(value)] = len(self._met)
                self._alive.append(value)  # or another could have its id
            self._of_object(value)
        return self

    def _put(self, kind: str, content: str | bytes) -> None:
        encoded = content.encode(errors="surrogatepass") if isinstance(content, str) else content
        self._hash.update(f"{kind} {len(encoded)}:".encode() + encoded)

    def _each(self, kind: str, values: Iterable[Any]) -> None:
        held = list(values)
        self._put(kind, str(len(held)))
        for value in held:
            self.of(value)

    def _of_object(self, value: Any) -> None:
        match value:
            case tuple() | list() if type(value) in (tuple, list, torch.Size):
                self._each(type(value).__name__, value)
            case dict() | MappingProxyType() if type(value) in (dict, MappingProxyType):
                self._each("dict", (part for pair in value.items() for part in pair))
            case set() | frozenset():
                self._each(
                    type(value).__name__,
                    sorted(content_digest(part, with_numbers=self._with_numbers) for part in value),
                )
            case Tensor():
                self._of_tensor(value)
            case np.ndarray() if value.dtype.hasobject:
                self._each(f"array {value.shape}", value.ravel().tolist())
            case np.ndarray():
                self._put(f"array {value.dtype.str} {value.shape}", np.ascontiguousarray(value).tobytes())
            case nn.Module():
                self._of_network(value)
            case ModuleType():
                self._put("module", repr(module_identity(value.__name__)))
            case type():
                self._of_class(value)
            case FunctionType():
                self._of_function(value)
            case MethodType():
                self._each("method", (value.__func__, value.__self__))
            case functools.partial():
                self._each("partial", (value.func, value.args, value.keywords))
            case BuiltinFunctionType():
                owner = value.__self__
                self._each("builtin", (value.__qualname__, owner.__name__ if isinstance(owner, ModuleType) else owner))
            case CodeType():
                self._of_code(value)
            case torch.dtype() | torch.device() | torch.layout() | torch.memory_format():
                self._put("torch", repr(value))
            case property():
                self._each("property", (value.fget, value.fset, value.fdel))
            case staticmethod() | classmethod():
                self._each(type(value).__name__, (value.__func__,))
            case _:
                self._of_reduced(value)

    def _of_tensor(self, value: Tensor) -> None:
        plain = value.detach()
        if plain.layout is not torch.strided or plain.is_quantized:
            self._of_reduced(value)
            return
        data = plain.cpu().contiguous()
        kind = f"tensor {data.dtype} {tuple(data.shape)} {value.requires_grad}"
        self._put(kind, _bytes_of(data) if self._with_numbers else b"")

    def _of_network(self, network: nn.Module) -> None:
        self.of(type(network))
        for kind in ("_parameters", "_buffers", "_modules"):
            self._each(kind, (part for pair in getattr(network, kind).items() for part in pair))
        for name, attribute in sorted(vars(network).items()):
            if name not in _OF_MODULES:
                # Hooks are kept by numbers that count all hooks of the program.
                self.of(name).of(
                    list(attribute.values()) if "hooks" in name and hasattr(attribute, "values") else attribute
                )

    def _of_class(self, kind: type) -> None:
        if is_importable(kind):
            self._of_imported(kind)
            return
        self._each(f"class {kind.__qualname__}", kind.__bases__)
        for name, attribute in sorted(vars(kind).items()):
            if (
                name not in _NO_CONTENT
                and not inspect.isgetsetdescriptor(attribute)
                and not inspect.ismemberdescriptor(attribute)
            ):
                self.of(name).of(attribute)
        fields = vars(kind).get("__dataclass_fields__", {})
        self._each("fields", ((field.name, str(field.type), field.init, field.kw_only) for field in fields.values()))

    def _of_function(self, function: FunctionType) -> None:
        if is_importable(function):
            self._of_imported(function)
            return
        self._each("function", (function.__code__, function.__defaults__, function.__kwdefaults__))
        for name in sorted(_globals_of(function.__code__)):
            if name in function.__globals__:
                self.of(name)
                self._of_named(name, function.__globals__[name])
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # nothing is in it yet
                continue
            self.of(name)
            self._of_named(name, content)

    def _of_imported(self, target: Callable[..., Any]) -> None:
        if is_own(target):  # wherever it lies in effbench
            self._put("own", f"{target.__qualname__} {getattr(target, 'VERSION', 1)}")
        else:
            self._put("imported", repr(_plain(source_identity(target))))

    def _of_named(self, name: str, value: Any) -> None:
        """Feed what code refers to; one that has no content is named."""
        try:
            self.of(value)
        except ValueError as error:
            message = str(error)
            raise ValueError(
                message if message.startswith("refers to") else f"refers to {name}, which {message}"
            ) from None

    def _of_code(self, code: CodeType) -> None:
        self._put("code", code.co_code)
        self._each(
            "facts",
            (
                code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags, code.co_names,
                code.co_varnames, code.co_freevars, code.co_cellvars, code.co_consts,
            ),
        )  # fmt: skip

    def _of_reduced(self, value: Any) -> None:
        """Feed an object by how it would be copied: its class, what that is called with, and its state."""
        registered = copyreg.dispatch_table.get(type(value))
        try:
            reduced = value.__reduce_ex__(4) if registered is None else registered(value)
        except Exception as error:  # whatever a class makes of it
            raise ValueError(
                f"is a {type(value).__name__}, whose content can't be told ({kind_and_line(error)})"
            ) from None
        if isinstance(reduced, str):  # the name of something global
            self._put("global", f"{type(value).__module__} {reduced}")
            return
        made_by, given, *rest = reduced
        state, items, pairs = (*rest, None, None, None)[:3]
        self._each("object", (type(value), made_by, given, state))
        self._each("items", items or ())
        self._each("pairs", (part for pair in pairs or () for part in pair))


def _plain(identity: Mapping[str, Any]) -> list[Any]:
    return sorted((name, sorted(part.items()) if isinstance(part, dict) else part) for name, part in identity.items())


def _bytes_of(data: Tensor) -> bytes:
    return data.flatten().view(torch.uint8).numpy().tobytes() if data.numel() else b""


def _globals_of(code: CodeType) -> Iterator[str]:
    """Yield the names that code looks up outside of itself, that of functions within it as well."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)


def classes_of(value: object, /) -> list[Callable[..., Any]]:
    """Return the classes of a network's modules, or of an object, that are imported from somewhere, each once."""
    parts = list(value.modules()) if isinstance(value, nn.Module) else [value]
    kinds = {kind: None for part in parts for kind in type(part).__mro__}
    return [kind for kind in kinds if is_importable(kind) and not is_own(kind)]
