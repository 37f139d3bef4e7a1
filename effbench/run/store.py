"""Models and results by key: written whole or not at all, checked on every read, computed once by any processes."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import safetensors.torch
from torch import Tensor, nn

from effbench.checks.locks import file_lock
from effbench.compression.constraints.described import describe, impose
from effbench.compression.structure.edits import Edit, edits_of
from effbench.compression.structure.rebuild import apply_edits

log = logging.getLogger(__name__)

_DIGEST_BYTES = 32
_ABANDONED_SECONDS = 3600
_CONSTRAINTS = "effbench.constraints"
_EDITS = "effbench.edits"


@dataclass(frozen=True)
class Store:
    """A folder of entries, each a file that begins with the SHA-256 of its name and of what follows."""

    root: Path
    read_only: bool = False
    """Whether it is only looked at: a folder that is not there is not made."""

    def __post_init__(self) -> None:
        """Make the folder. ValueError where it can't be written."""
        if self.read_only:
            return
        try:
            for folder in ("entries", "locks"):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root / "entries"):
                pass
        except OSError as error:
            reason = error.strerror or error
            raise ValueError(f"store.root={self.root}: can't be written ({reason}); name another folder") from None

    def put(self, name: str, content: bytes) -> None:
        """Write an entry; a reader sees all of it or nothing."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        # With the rights that the user's umask gives; those of mkstemp would lock out who shares the store.
        temporary = path.parent / f".{path.name[:100]}-{secrets.token_hex(8)}.part"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(_checksum(name, content))
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise

    def get(self, name: str) -> bytes | None:
        """Return an entry, or None where there is none; a damaged one is named in a warning and counts as none."""
        path = self._path(name)
        try:
            stored = path.read_bytes()
        except FileNotFoundError:
            return None
        content = stored[_DIGEST_BYTES:]
        if _checksum(name, content) != stored[:_DIGEST_BYTES]:
            log.warning("%s is damaged or not an entry of that name (its checksum differs): it is computed again", path)
            return None
        return content

    def has(self, name: str) -> bool:
        """Whether there is an entry of that name (unchecked: `get` may still find it damaged)."""
        return self._path(name).exists()

    def clear_unfinished(self) -> None:
        """Delete what writers that were killed left behind: parts of entries that nobody has touched for an hour."""
        for path in (self.root / "entries").rglob(".*.part"):
            with suppress(FileNotFoundError):  # its writer was alive
                if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()

    def put_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write an entry of JSON-able data."""
        self.put(name, json.dumps(content, sort_keys=True).encode())

    def get_json(self, name: str) -> dict[str, Any] | None:
        """Return an entry that `put_json` wrote, or None."""
        content = self.get(name)
        return None if content is None else json.loads(content)

    def put_model(self, key: str, model: nn.Module) -> None:
        """Keep a network's state, its structural edits and its constraints, bit by bit."""
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
        edits = {path: edit.to_plain() for path, edit in edits_of(model).items()}
        metadata = {_CONSTRAINTS: json.dumps(describe(model)), _EDITS: json.dumps(edits)}
        self.put(f"models/{key}", safetensors.torch.save(tensors, metadata))

    def get_model(self, key: str, network: nn.Module) -> nn.Module | None:
        """Turn a fresh `network` into the one kept under `key` and return it; None where there is none."""
        content = self.get(f"models/{key}")
        if content is None:
            return None
        metadata = _metadata(content)
        edits = json.loads(metadata[_EDITS])
        apply_edits(network, {path: Edit.from_plain(plain) for path, plain in edits.items()})
        impose(network, json.loads(metadata[_CONSTRAINTS]))
        tensors: dict[str, Tensor] = safetensors.torch.load(content)
        network.load_state_dict(tensors, strict=True)
        return network.eval()

    def has_model(self, key: str) -> bool:
        """Whether a network is kept under `key`."""
        return self.has(f"models/{key}")

    def keep_tensor(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """Return the tensor kept under `name`; where there is none, the one that `make` gives, kept from then on."""
        with self.lock(f"tensor-{name}"):
            content = self.get(f"tensors/{name}")
            if content is None:
                tensor = make().detach().cpu().contiguous()
                self.put(f"tensors/{name}", safetensors.torch.save({"tensor": tensor}))
                return tensor
            return safetensors.torch.load(content)["tensor"]

    @contextmanager
    def lock(self, key: str, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Let one process at a time compute what `key` names; `waiting` is called if another one is at it."""
        lock = file_lock(self.root / "locks" / f"{key}.lock")
        if waiting is not None:
            try:
                lock.acquire(blocking=False)
            except filelock.Timeout:
                waiting()
        lock.acquire()
        try:
            yield
        finally:
            lock.release(force=True)

    def _path(self, name: str) -> Path:
        return self.root / "entries" / name


def _checksum(name: str, content: bytes) -> bytes:
    """Return what an entry begins with. It covers the name: a file that was copied to another name is noticed."""
    checksum = hashlib.sha256(f"{name}\0".encode())
    checksum.update(content)
    return checksum.digest()


def _metadata(content: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file (its library reads them from files only)."""
    length = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    metadata: dict[str, str] = header["__metadata__"]
    return metadata
