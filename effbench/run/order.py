"""In which order runs are begun: what others need comes before them, so that nobody waits for what nobody makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from effbench.plan.point import Point


def makers(points: Sequence[Point], /) -> Mapping[str, set[str]]:
    """Return for each point, by its key, the keys of the earlier ones that make networks which it begins with.

    Of several points that share a network the first makes it. The fresh network costs nothing to share.
    """
    firsts: dict[str, str] = {}
    return {
        point.key: {firsts.setdefault(key, point.key) for key in point.chain.shared_keys} - {point.key}
        for point in points
    }


def first_things_first(points: Sequence[Point], /) -> list[Point]:
    """Return points in the order of how much has to be made before them, by others; references first among equals."""
    depths: dict[str, int] = {}
    for key, needed in makers(points).items():
        depths[key] = 1 + max((depths[maker] for maker in needed), default=-1)
    return sorted(points, key=lambda point: (depths[point.key], not point.is_reference))


class Queue:
    """Points in their order, each held back until those are done that make what it begins with."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._waiting: dict[str, Point] = {point.key: point for point in points}
        self._open: set[str] = set(self._waiting)
        self._makers = makers(points)

    @property
    def is_empty(self) -> bool:
        """Whether every point is done."""
        return not self._open

    def take(self) -> Point | None:
        """Return a point that can start, if there is one."""
        for key, point in self._waiting.items():
            if not self._makers[key] & self._open:
                del self._waiting[key]
                return point
        return None

    def finish(self, point: Point) -> None:
        """Note that a point is done, well or badly."""
        self._open.discard(point.key)
