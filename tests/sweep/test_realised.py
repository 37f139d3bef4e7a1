"""What engines make real of a saving: tags by run, from the rows of a sweep."""

import pandas as pd
import pytest

from effbench.sweep.realised import engine_tags


@pytest.fixture
def frame():
    rows = [
        ("reference", "r", True, 100, 100, 1.0, 0.0),
        ("prune=0.5", "p", False, 100, 50, 1.0, 0.0),
        ("prune_channels=0.5", "c", False, 40, 40, 2.4, 0.0),
        ("bits=8, act_bits=8", "b", False, 100, 100, 1.6, 0.9),
        ("bits=8", "w", False, 100, 100, 1.0, 0.0),
    ]
    names = ["point", "run_key", "reference", "macs", "macs_effective", "speedup/ort", "int8_share/ort"]
    frame = pd.DataFrame(rows, columns=names).assign(reference_key="r", seed=0, size_bytes=10)
    for end, factor in (("low", 0.97), ("high", 1.03)):
        frame[f"speedup_{end}/ort"] = frame["speedup/ort"] * factor
    return frame


def test_each_run_says_what_its_saving_is_and_whether_it_is_real(frame):
    assert engine_tags(frame) == {
        key: {"effbench.realised/latency/ort": realness, "effbench.verdict/ort": verdict}
        for key, realness, verdict in (
            ("p", "masked", "none"),
            ("c", "removed", "as predicted"),
            ("b", "executed", "as predicted"),
            ("w", "simulated", "as predicted"),
        )
    }


def test_threads_share_the_file_of_which_its_integer_weights_are_known(frame):
    frame = frame.rename(columns=lambda name: name.replace("/ort", "/ort.t2") if name.startswith("speedup") else name)
    assert engine_tags(frame)["b"]["effbench.realised/latency/ort.t2"] == "executed"


def test_what_no_engine_timed_has_no_tags(frame):
    assert engine_tags(frame.drop(columns=[name for name in frame.columns if "ort" in name])) == {}
    assert engine_tags(frame[:0]) == {}
