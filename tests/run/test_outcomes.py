"""A run that failed, as what can be sent to another process and be shown in a line."""

import pickle

from effbench.run.outcomes import STORAGE_ERRORS, RunError


def caught(error):
    try:
        raise error
    except Exception as raised:
        return RunError.of(raised)


def test_an_error_from_a_worker_keeps_type_text_trace_and_number():
    kept = pickle.loads(pickle.dumps(caught(OSError(28, "No space left on device"))))
    assert str(kept) == "OSError: [Errno 28] No space left on device"
    assert kept.trace.startswith("Traceback")
    assert "in caught" in kept.trace
    assert kept.errno == 28
    assert kept.errno in STORAGE_ERRORS
    assert caught(ValueError("x")).errno is None


def test_its_summary_is_one_line():
    assert caught(ValueError("bad\nand more")).summary == "ValueError: bad"
    assert caught(KeyError("lost")).summary == "KeyError: 'lost'"
    assert RunError("the worker process died", "the worker process died").summary == "the worker process died"


def test_a_chain_of_errors_is_told_whole():
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise ValueError("second") from first
    except ValueError as error:
        trace = RunError.of(error).trace
    assert "first" in trace
    assert "second" in trace
