"""What the engines of a sweep take by themselves, told once."""

from __future__ import annotations

import json

from effbench.measure.engine import engine_versions
from effbench.measure.footprint import Footprint, Library, footprint_of
from effbench.plan.blueprint import Blueprint
from effbench.plan.keys import digest
from effbench.plan.sweep import Sweep
from effbench.run.store import Store
from effbench.sweep.environment import describe_machine


def library_lines(sweep: Sweep, store: Store, /) -> list[str]:
    """Return a line for each engine that has a library of its own: its bytes on disk, the time to load it.

    What was measured of the same versions on the same machine is taken from the store.
    """
    lines = []
    for name, blueprint in sweep.engines.items():
        library = getattr(blueprint.build(), "library", None)
        if library is not None:
            lines.append(f"engine={name}: {_told(library(), blueprint, store)}")
    return lines


def _told(library: Library, blueprint: Blueprint, store: Store) -> str:
    content = [vars(library), describe_machine(), engine_versions(blueprint.callable, blueprint.options)]
    entry = f"latency/{digest(json.loads(json.dumps(content)))}.json"
    kept = store.get_json(entry)
    try:
        found = Footprint(**kept) if isinstance(kept, dict) else footprint_of(library)
    except (TypeError, ValueError) as error:
        return f"what its library takes is not known: {error}"
    store.put_json(entry, vars(found))
    return (
        f"its library ({library.distribution}) takes {found.library_bytes / 1e6:,.0f} MB on disk here, and "
        f"{found.load_seconds:.2g} s to be loaded by Python"
    )
