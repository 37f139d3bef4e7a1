"""The order of runs: what others need first, and nobody waits while there is other work."""

from types import SimpleNamespace

from effbench.run.order import Queue, first_things_first, makers


def point(key, *prefix, is_reference=False):
    return SimpleNamespace(key=key, chain=SimpleNamespace(shared_keys=prefix), is_reference=is_reference)


def test_a_point_waits_for_the_first_with_its_own_beginnings():
    queue = Queue(
        [point("reference", "t", "f"), point("half", "t", "p1"), point("tenth", "t", "p2"), point("other", "u")]
    )
    assert queue.take().key == "reference"
    assert queue.take().key == "other"
    assert queue.take() is None
    queue.finish(point("other"))
    assert queue.take() is None
    queue.finish(point("reference"))
    assert [queue.take().key, queue.take().key] == ["half", "tenth"]
    assert not queue.is_empty
    queue.finish(point("half"))
    queue.finish(point("tenth"))
    assert queue.is_empty


def test_a_fresh_network_in_common_makes_nobody_wait():
    queue = Queue([point("a", "t1"), point("b", "t2")])
    assert [queue.take().key, queue.take().key] == ["a", "b"]


def test_what_others_need_comes_first_and_references_first_among_equals():
    points = [
        point("ref0", "t0", "f0", is_reference=True),
        point("a0", "t0", "p1"),
        point("b0", "t0", "p1", "q"),
        point("alone", "u"),
        point("ref1", "t1", is_reference=True),
        point("a1", "t1", "p2"),
    ]
    assert [p.key for p in first_things_first(points)] == ["ref0", "ref1", "alone", "a0", "a1", "b0"]


def test_the_first_of_those_that_share_a_network_makes_it():
    points = [point("ref", "t", "f"), point("half", "t", "p"), point("half, 4 bits", "t", "p", "q")]
    assert makers(points) == {"ref": set(), "half": {"ref"}, "half, 4 bits": {"ref", "half"}}
