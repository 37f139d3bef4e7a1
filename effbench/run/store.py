"""Models and results by key: written whole or not at all, checked on every read, computed once by any processes."""

from __future__ import annotations

import json
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from effbench.checks.errors import first_line
from effbench.compression.constraints.described import describe, impose
from effbench.compression.structure.edits import Edit, edits_of
from effbench.compression.structure.rebuild import apply_edits
from effbench.run.entry import checksum, entry_lock, entry_path, read_entry
from effbench.run.room import make_room

log = logging.getLogger(__name__)

_ABANDONED_SECONDS = 3600
_CONSTRAINTS = "effbench.constraints"
_EDITS = "effbench.edits"
_FINDINGS = "effbench.findings"
_NOTE = "effbench.note"


@dataclass(frozen=True)
class Store:
    """A folder of entries, each a file that begins with the SHA-256 of its name and of what follows."""

    root: Path
    read_only: bool = False
    """Whether it is only looked at: a folder that is not there is not made."""
    limit: int | None = None
    """Bytes that it may hold: networks and tensors that were not used for long make room for new ones."""
    on_wait: Callable[[bool], object] = field(default=bool, compare=False, repr=False)
    """Is told when a wait for what another process computes begins (True) and ends (False)."""

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
                stream.write(checksum(name, content))
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
        try:
            return read_entry(self.root, name)
        except ValueError as error:
            log.warning("%s: it is computed again", error)
            return None

    def has(self, name: str) -> bool:
        """Whether there is an entry of that name (unchecked: `get` may still find it damaged)."""
        return self._path(name).exists()

    def clear_unfinished(self) -> None:
        """Delete what writers that were killed left behind: parts of entries that nobody has touched for an hour."""
        for path in (self.root / "entries").rglob(".*.part"):
            with suppress(OSError):  # its writer was alive, or it is somebody else's
                if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()

    def put_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write an entry of JSON-able data."""
        self.put(name, json.dumps(content, sort_keys=True).encode())

    def get_json(self, name: str) -> dict[str, Any] | None:
        """Return an entry that `put_json` wrote, or None; a damaged one as `get` does."""
        content = self.get(name)
        try:
            return None if content is None else dict(json.loads(content))
        except (ValueError, TypeError):
            self.give_up(name, "no JSON object")
            return None

    def give_up(self, name: str, why: str) -> None:
        """Name an entry whose checksum is right and which still says nothing, in a warning."""
        log.warning("%s can't be used (%s): it is computed again", self._path(name), why)

    def put_model(self, key: str, model: nn.Module, findings: Mapping[str, Any] | None = None) -> None:
        """Keep a network's state, its structural edits and its constraints, bit by bit; and what was found on its way.

        findings: JSON-able; in the same entry, so that neither is there without the other.
        """
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
        edits = {path: edit.to_plain() for path, edit in edits_of(model).items()}
        metadata = {_CONSTRAINTS: json.dumps(describe(model)), _EDITS: json.dumps(edits)}
        if findings is not None:
            metadata[_FINDINGS] = json.dumps(findings)
        self.put_snapshot(f"models/{key}", safetensors.torch.save(tensors, metadata))

    def get_model(self, key: str, network: nn.Module) -> nn.Module | None:
        """Turn a fresh `network` into the one kept under `key` and return it; None where there is none that fits it."""
        kept = self.get_model_with_findings(key, network)
        return None if kept is None else kept[0]

    def get_model_with_findings(self, key: str, network: nn.Module) -> tuple[nn.Module, dict[str, Any] | None] | None:
        """Turn a fresh `network` into the one kept under `key`; return it with what was found on its way.

        None where there is none, or one that does not fit the network; findings None of an entry that has none: earlier
        versions kept them elsewhere.
        """
        content = self.get(f"models/{key}")
        if content is None:
            return None
        try:
            metadata = _metadata(content)
            findings = json.loads(metadata[_FINDINGS]) if _FINDINGS in metadata else None
            apply_edits(network, {p: Edit.from_plain(plain) for p, plain in json.loads(metadata[_EDITS]).items()})
            impose(network, json.loads(metadata[_CONSTRAINTS]))
            network.load_state_dict(safetensors.torch.load(content), strict=True)
        except _UNFIT as error:
            self.give_up(f"models/{key}", first_line(error))
            return None
        self._touch(f"models/{key}")
        return network.eval(), findings

    def has_model(self, key: str) -> bool:
        """Whether a network is kept under `key`."""
        return self.has(f"models/{key}")

    def keep_tensor(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """Return the tensor kept under `name`; where there is none, the one that `make` gives, kept from then on."""
        return self.keep_tensor_with_note(name, lambda: (make(), None))[0]

    def keep_tensor_with_note(
        self, name: str, make: Callable[[], tuple[Tensor, Mapping[str, Any] | None]]
    ) -> tuple[Tensor, dict[str, Any] | None]:
        """As `keep_tensor`, with what is to be known of the tensor, JSON-able; None where earlier versions kept it."""
        entry = f"tensors/{name}"
        with self.lock(f"tensor-{name}"):
            content = self.get(entry)
            if content is not None:
                try:
                    tensor: Tensor = safetensors.torch.load(content)["tensor"]
                    metadata = _metadata(content)
                    self._touch(entry)
                    return tensor, json.loads(metadata[_NOTE]) if _NOTE in metadata else None
                except _UNFIT as error:
                    self.give_up(entry, first_line(error))
            tensor, note = make()
            tensor = tensor.detach().cpu().contiguous()
            noted = None if note is None else {_NOTE: json.dumps(note)}
            self.put_snapshot(entry, safetensors.torch.save({"tensor": tensor}, noted))
            return tensor, None if note is None else dict(note)

    def put_snapshot(self, name: str, content: bytes) -> None:
        """Write what can be made again, and see to it that the store keeps within its limit."""
        self.put(name, content)
        if self.limit is not None:
            make_room(self.root, self.limit, written=len(content))

    def _touch(self, name: str) -> None:
        """Note that an entry was used: what was not for longest goes first where room is needed."""
        with suppress(OSError):  # it is somebody else's, or was dropped just now
            os.utime(self._path(name))

    @contextmanager
    def lock(self, key: str, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Let one process at a time, of all that share the store, compute what `key` names.

        waiting: is called if another one is at it.
        """
        waits = []

        def wait() -> None:
            waits.append(True)
            if waiting is not None:
                waiting()
            self.on_wait(True)

        with entry_lock(self.root, key, waiting=wait):
            if waits:
                self.on_wait(False)
            yield

    def _path(self, name: str) -> Path:
        return entry_path(self.root, name)


_UNFIT = (ValueError, KeyError, TypeError, AttributeError, RuntimeError, safetensors.SafetensorError)
"""What entries raise that another version wrote, or that are of another network than their name says."""


def _metadata(content: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file (its library reads them from files only)."""
    length = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    metadata: dict[str, str] = header.get("__metadata__", {})
    return metadata
