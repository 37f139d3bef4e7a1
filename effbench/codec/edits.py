"""The structural edits of a network as bytes: which modules, by their place, and what they became.

varint number of edits, then for each: varint 8 × (modules passed over since the last edit) + kind, its widths as
varints. A kind of 7 or more is 7 there, and before the widths comes varint kind - 7. Modules are counted as
`structure.edits.places` yields them, so no name is in the file.
"""

from __future__ import annotations

from itertools import islice

from torch import nn

from effbench.codec.wire import Reader, damaged, varint
from effbench.compression.structure.edits import Edit, EditKind, edits_of, n_widths, places
from effbench.compression.structure.rebuild import apply_edits, layer_sizes

_MAX_KINDS = 8
_FURTHER = _MAX_KINDS - 1
"""In the place of a kind that has no room there."""
_MAX_WIDTH = 2**31 - 1


def write_edits(network: nn.Module, /) -> bytes:
    """Return the section of a network's structural edits; nothing where it has none."""
    edits = edits_of(network)
    if not edits:
        return b""
    parts, passed = [varint(len(edits))], 0
    for path, _module in places(network):
        edit = edits.get(path)
        if edit is None:
            passed += 1
            continue
        further = [varint(edit.kind - _FURTHER)] if edit.kind >= _FURTHER else []
        parts += [varint(passed * _MAX_KINDS + min(edit.kind, _FURTHER)), *further, *map(varint, edit.widths)]
        passed = 0
    return b"".join(parts)


def read_edits(reader: Reader, network: nn.Module, /) -> None:
    """Make the edits of the next section on `network`, in place. ValueError for what does not fit it."""
    # A rewritten convolution has up to three places inside, which may be edited in their turn.
    most = 4 * sum(1 for _ in places(network))
    walk, sizes = places(network), layer_sizes(network)
    for _ in range(reader.varint("the number of structural edits", at_most=most)):
        head = reader.varint("the place of a structural edit", at_most=most * _MAX_KINDS - 1)
        passed, number = divmod(head, _MAX_KINDS)
        if number == _FURTHER:
            number += reader.varint("the kind of a structural edit", at_most=_MAX_WIDTH)
        if number not in list(EditKind):
            raise damaged(f"a structural edit has the unknown kind {number}")
        path, module = next(islice(walk, passed, None), ("", None))
        if module is None:
            raise damaged("the place of a structural edit is behind the last of the network's")
        n = n_widths(EditKind(number), module)
        if n is None or not path:
            raise damaged(f"a {type(module).__name__} can't be {EditKind(number).name.lower()}")
        widths = tuple(reader.varint("a width in a structural edit", at_most=_MAX_WIDTH) for _ in range(n))
        apply_edits(
            network, {path: Edit(EditKind(number), widths)}, sizes=sizes
        )  # the walk goes on through what it makes
