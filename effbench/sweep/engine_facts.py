"""What is told of the engines of a sweep themselves: the versions of their packages, what their libraries take."""

from __future__ import annotations

import json
from collections.abc import Mapping

from effbench.measure.engine import engine_versions
from effbench.measure.footprint import Footprint, Library, footprint_of
from effbench.plan.blueprint import Blueprint
from effbench.plan.keys import digest
from effbench.plan.sweep import Sweep
from effbench.run.store import Store
from effbench.sweep.environment import describe_machine
from effbench.tracking import names


def version_tags(sweep: Sweep, latencies: Mapping[str, Mapping[str, float]], /) -> dict[str, dict[str, str]]:
    """Return tags of the runs that were measured, by run key: `effbench.engine/<engine>`, the versions of its packages.

    latencies: metrics such as latency_ms/eager.t2, by run key.
    """
    versions = {
        name: ", ".join(f"{package} {version}" for package, version in _versions(blueprint).items())
        for name, blueprint in sweep.engines.items()
    }
    tags: dict[str, dict[str, str]] = {}
    for key, metrics in latencies.items():
        engines = {name.partition("/")[2].partition(".")[0] for name in metrics if name.startswith("latency_ms/")}
        own = {f"{names.ENGINE}/{engine}": text for engine, text in versions.items() if engine in engines}
        if own:
            tags[key] = own
    return tags


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
    content = [vars(library), describe_machine(), _versions(blueprint)]
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


def _versions(blueprint: Blueprint) -> dict[str, str]:
    return engine_versions(blueprint.callable, blueprint.options)
