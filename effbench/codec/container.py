"""The file of a network: a head, one record a tensor, a checksum.

=========  ============================================================================================================
bytes      what
=========  ============================================================================================================
3          magic
1          format version
1          coder: 0 none, 1 huffman, 2 ans, 3 context; plus 128 with structural edits, plus 64 with inputs
4          fingerprint (BLAKE2b) of the names, types and shapes in the network's state dict, after the edits
...        the structural edits (`edits`), where the network has any
...        what is imposed on the inputs of layers (`layer_inputs`), where something is
varint     number of records
...        the records (`tensor_record`), in the order of their tensors' names
4          CRC-32 of all bytes before
=========  ============================================================================================================

The file holds no names and no code: the network that it belongs to is given when it is read.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from effbench.codec.edits import read_edits, write_edits
from effbench.codec.forms import TensorForm, to_patterns
from effbench.codec.layer_inputs import clear_inputs, read_inputs, write_inputs
from effbench.codec.streams import Coder
from effbench.codec.tensor_record import read_record, value_of, write_record, write_repeat
from effbench.codec.tensor_sizes import Stored, TensorSize, entropy_bytes
from effbench.codec.wire import Reader, damaged, varint
from effbench.compression.constraints.codebook import SharedTensor
from effbench.compression.constraints.copies import plain_network
from effbench.compression.constraints.quantizer import HeldGrid, QuantizedTensor
from effbench.compression.constraints.stack import bake, native_form, register

_MAGIC = b"eff"
_VERSION = 1
CODER_NUMBERS: dict[Coder, int] = {"none": 0, "huffman": 1, "ans": 2, "context": 3}
"""The number of each coder in a file: append only."""
_HAS_EDITS = 0x80
_HAS_INPUTS = 0x40
_N_FINGERPRINT = 4
_WORTH_THREADS = 2**18
"""Entries from which on tensors are coded side by side."""
_N_CHECKSUM = 4


def encode(model: nn.Module, /, *, coder: Coder = "huffman") -> bytes:
    """Return the state of a network as the bytes of a file, without loss.

    A tensor under a constraint is stored in its native form (codes with the scales of a quantiser that has the last
    word, or with the values of a codebook) and comes back as the plain tensor that the constraint makes of it: see
    `decode`. Each tensor is stored dense or sparse, entropy coded or packed, whichever is smallest (Han et al. 2016,
    arXiv:1510.00149); the same network always gives the same bytes. Like a state dict, the file leaves out
    non-persistent buffers.

    coder: "none" for packed bits only, "huffman", "ans" (within 0.1 % of the entropy of large tensors), or "context",
    which predicts zeros and values from their neighbours and the rows before and takes 0.1 to 0.4 microseconds a
    weight; each may use what those before it use. ValueError for another, or a state that tensors can't hold.

    >>> from torch import nn
    >>> network = nn.Linear(4, 2)
    >>> restored = decode(encode(network), network)
    >>> bool((restored.weight == network.weight).all())
    True
    """
    return encode_each(model, coders=(coder,))[0].blob


@dataclass(frozen=True)
class Written:
    """A file, and what is known of it."""

    blob: bytes
    contents: Sequence[tuple[str, Stored]]
    """The tensors by their names, as they are stored, in the order of the file."""
    lengths: Sequence[int]
    """Of their records, in bytes."""

    def tensor_sizes(self) -> list[TensorSize]:
        """Return what each tensor takes."""
        return [
            TensorSize(name, (stored if isinstance(stored, Tensor) else stored.codes).numel(), n, entropy_bytes(stored))
            for (name, stored), n in zip(self.contents, self.lengths, strict=True)
        ]


def encode_each(model: nn.Module, /, *, coders: Iterable[Coder]) -> list[Written]:
    """Return the file that `encode` makes with each coder, in less time than one by one. Errors as there."""
    coders = tuple(coders)
    for coder in coders:
        if coder not in CODER_NUMBERS:
            raise ValueError(f"coder must be one of {', '.join(CODER_NUMBERS)}, got {coder!r}")
    model = plain_network(model)
    tensors = _state(bake(model))
    native = _native_forms(model)
    contents: list[tuple[Stored, TensorForm]] = []
    for name, tensor in tensors.items():
        stored = native.get(name)
        exact = stored is not None and _same_bits(stored.dequantize().to(tensor.dtype), tensor)
        contents.append((stored if stored is not None and exact else tensor, TensorForm.of(tensor, name)))
    edits, imposed = write_edits(model), write_inputs(model)
    kept = (_HAS_EDITS if edits else 0) | (_HAS_INPUTS if imposed else 0)
    middle = _fingerprint(tensors) + edits + imposed + varint(len(contents))
    files = []
    for coder in coders:
        head = _MAGIC + bytes([_VERSION, CODER_NUMBERS[coder] | kept])
        records = list(_records(contents, coder))
        body = head + middle + b"".join(records)
        named = list(zip(tensors, (stored for stored, _ in contents), strict=True))
        files.append(Written(body + _checksum(body), named, list(map(len, records))))
    return files


def _records(contents: Sequence[tuple[Stored, TensorForm]], coder: Coder) -> Iterator[bytes]:
    """Yield a record for each tensor; one that is there already is named, where that is shorter."""
    numbers: dict[bytes, int] = {}
    for number, record in enumerate(_each_record(contents, coder)):
        earlier = numbers.setdefault(record, number)
        repeat = write_repeat(earlier)
        yield repeat if earlier < number and len(repeat) < len(record) else record


def _each_record(contents: Sequence[tuple[Stored, TensorForm]], coder: Coder) -> Iterable[bytes]:
    """Return the record of each tensor, made by as many threads as torch may use; their number changes no byte."""
    n_threads = min(torch.get_num_threads(), len(contents))
    if n_threads < 2 or sum(form.n_entries for _, form in contents) < _WORTH_THREADS:
        return (write_record(value, form, coder=coder) for value, form in contents)
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(lambda content: write_record(*content, coder=coder), contents))


def decode(blob: bytes, model: nn.Module, /) -> nn.Module:
    """Return a new network with the state in `blob`, on the CPU.

    model: the network that `blob` belongs to, with its constraints and structural edits or without. It is left alone,
    and its values are not used (though a quantiser refuses values that are not finite). The result has the structure of
    ``stack.bake(model)`` after the file's edits, and what the file imposes on the inputs of layers;
    ``decode(encode(m), m)`` has the state of the former too, bit for bit. ValueError, in one line, when the bytes are
    damaged, of an unknown version, or of another network; nothing in them is executed, and no memory is taken but for
    tensors of the network's own shapes or smaller. Time grows with the network's entries, whatever the bytes say: each
    is read in at most nine streams of symbols.

    >>> import effbench
    >>> network = effbench.models.lenet_300_100()
    >>> again = effbench.decode(effbench.encode(network), effbench.models.lenet_300_100())
    >>> bool((again.fc1.weight == network.fc1.weight).all())
    True
    """
    network, _codes = _decoded(blob, model)
    return network


def decode_on_grids(blob: bytes, model: nn.Module, /) -> nn.Module:
    """Return the network that `decode` returns, its weights under the grids on which the file holds their codes.

    Its values are the same, bit for bit; what executes integers finds the codes (`stack.native_form`). Weights whose
    levels are not even (powers of two, codebooks) are plain tensors, as all are that are stored as floats.
    """
    network, codes = _decoded(blob, model, keeps_codes=True)
    for name, stored in codes.items():
        layer_name, _, tensor_name = name.rpartition(".")
        layer, grid = network.get_submodule(layer_name), _grid_of(stored)
        if grid is not None and tensor_name in layer._parameters:
            register(layer, tensor_name, grid)
    return network


def _grid_of(stored: QuantizedTensor) -> HeldGrid | None:
    """Return an even grid that has all the codes among its own; None where none has.

    It may have more bits than the codes are said to have: one bit is the codes -1, 0 and 1, and steps of an affine grid
    from its zero points go both ways.
    """
    if stored.is_power:
        return None
    low, high = (int(stored.codes.min()), int(stored.codes.max())) if stored.codes.numel() else (0, 0)
    if not bool(stored.zero_point.any()) and (low < 0 or high < 2 ** (stored.bits - 1)):
        bits = max(stored.bits, 2, max(-low, high).bit_length() + 1)
        return HeldGrid(stored.scale, stored.zero_point, bits=bits, scheme="symmetric")
    if low < 0 or high >= 2**stored.bits:
        return None
    return HeldGrid(stored.scale, stored.zero_point, bits=stored.bits, scheme="affine")


def _decoded(
    blob: bytes, model: nn.Module, *, keeps_codes: bool = False
) -> tuple[nn.Module, dict[str, QuantizedTensor]]:
    """Return the network of a file; where they are to be kept, also the codes of its tensors, by the tensors' names.

    Of what stands in several places there are none.
    """
    reader = _open(bytes(blob))
    network = bake(model)
    clear_inputs(network)
    flags, fingerprint = reader.byte(), reader.take(_N_FINGERPRINT)
    number = flags & ~(_HAS_EDITS | _HAS_INPUTS)
    if number not in CODER_NUMBERS.values():
        raise damaged(f"it names the unknown coder {number}")
    if flags & _HAS_EDITS:
        read_edits(reader, network)
    if flags & _HAS_INPUTS:
        read_inputs(reader, network)
    tensors = _state(network)
    forms = {name: TensorForm.of(tensor, name) for name, tensor in tensors.items()}
    n_records = reader.varint("the number of records", at_most=2**31)
    if n_records != len(tensors) or fingerprint != _fingerprint(tensors):
        raise ValueError(
            f"the file is of another network: it has {n_records} tensors, the given one {len(tensors)}, "
            "and their names, types and shapes must be the same"
        )
    tensors = _state(network.cpu())
    codes = _fill(tensors, forms, reader, keeps_codes=keeps_codes)
    if reader.n_left:
        raise damaged(f"{reader.n_left} bytes are left over after the last tensor")
    return network, codes


def _open(blob: bytes) -> Reader:
    """Check what can be checked without a network; return a reader after the version."""
    if not blob.startswith(_MAGIC):
        raise damaged("it does not begin like one")
    if len(blob) < len(_MAGIC) + 1 + _N_CHECKSUM:
        raise damaged(f"it ends after {len(blob)} bytes")
    if blob[len(_MAGIC)] != _VERSION:
        raise ValueError(f"the file has format version {blob[len(_MAGIC)]}, this effbench reads version {_VERSION}")
    body = blob[:-_N_CHECKSUM]
    if blob[-_N_CHECKSUM:] != _checksum(body):
        raise damaged("its checksum does not match")
    reader = Reader(body)
    reader.take(len(_MAGIC) + 1)
    return reader


def _fill(
    tensors: dict[str, Tensor], forms: dict[str, TensorForm], reader: Reader, *, keeps_codes: bool
) -> dict[str, QuantizedTensor]:
    """Read a record into each tensor of the new network."""
    storages = Counter(tensor.untyped_storage().data_ptr() for tensor in tensors.values() if tensor.numel())
    shared: dict[str, Tensor] = {}
    codes: dict[str, QuantizedTensor] = {}
    earlier: list[Tensor | QuantizedTensor] = []
    for name, tensor in tensors.items():
        stored = read_record(reader, forms[name], earlier)
        value = value_of(stored, forms[name])
        tensor.copy_(value)
        if isinstance(stored, QuantizedTensor) and keeps_codes:
            codes[name] = stored
        earlier.append(codes.get(name, tensor))
        if storages[tensor.untyped_storage().data_ptr()] > 1:
            shared[name] = value
            codes.pop(name, None)
    for name, value in shared.items():
        if not _same_bits(tensors[name], value):
            raise ValueError(f"{name} shares memory with another tensor of the network, but not its values in the file")
    return codes


def _state(network: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a network without constraints by name, sorted: order of registration does not matter."""
    state = network.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} in the state of the network is a {type(value).__name__}, not a tensor")
    return {name: state[name].detach() for name in sorted(state)}


def _native_forms(model: nn.Module) -> dict[str, QuantizedTensor | SharedTensor]:
    """Return the native form of each tensor whose constraints give it one, by the tensor's name, on the CPU."""
    native: dict[str, QuantizedTensor | SharedTensor] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        for tensor_name in getattr(module, "parametrizations", {}):
            form = native_form(module, tensor_name)
            if form is not None:
                native[f"{prefix}.{tensor_name}".removeprefix(".")] = form.cpu()
    return native


def _same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(torch.from_numpy(to_patterns(a)), torch.from_numpy(to_patterns(b)))


def _fingerprint(tensors: dict[str, Tensor]) -> bytes:
    lines = "".join(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\n" for name, tensor in tensors.items())
    return hashlib.blake2b(lines.encode(), digest_size=_N_FINGERPRINT).digest()


def _checksum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(_N_CHECKSUM, "little")
