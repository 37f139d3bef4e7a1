"""The table of runs while a sweep goes on: of its points, or of some of them."""

from effbench.sweep.run_frame import run_frame


def test_a_row_for_each_finished_run_and_the_others_named(tiny_sweep, result_of):
    sweep = tiny_sweep("+prune=0.5,0.9")
    metrics = {point.key: result_of(point).metrics for point in sweep.plan.points[:2]}
    frame = run_frame(sweep, metrics, {sweep.plan.points[1].key: {"latency_ms/eager": 2.0}})
    assert list(frame["point"]) == ["reference", "prune=0.5"]
    assert frame["latency_ms/eager"].tolist()[1] == 2.0
    assert [failed["point"] for failed in frame.attrs["failed"]] == ["prune=0.9"]
    assert frame.attrs["moves"] == {"prune": ["size_bytes", "macs_effective"]}
    part = run_frame(sweep, metrics, {}, among=sweep.plan.points[1:2])
    assert list(part["point"]) == ["prune=0.5"] and part.attrs["failed"] == []
