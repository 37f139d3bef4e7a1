"""What a job tells on its way: whole messages, in their order, each once; what is no message is passed over."""

import math
import types

import pytest

from effbench.run.letters import BEGAN, ENDED, EPOCH, FAILED, STARTED, STEP, LetterReader, LetterWriter
from effbench.run.times import Times


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.jsonl"


def test_messages_are_read_as_they_were_written_each_once(path):
    writer, reader, point = LetterWriter(path), LetterReader(path), types.SimpleNamespace()
    assert list(reader.read()) == []
    writer.run_started(point)
    row = {"curve": "train", "epoch": 1, "loss": math.inf, "accuracy": 0.1 + 0.2, "α": 'β\n"'}
    writer.epoch_ended(point, row)
    assert list(reader.read()) == [[STARTED], [EPOCH, row]]
    assert list(reader.read()) == []
    writer.run_computed(point)
    writer.ended(was_kept=True)
    writer.failed("why", "a\ntrace", None)
    writer.run_began(point, 1.5)
    writer.failed("why", "a\ntrace", 28, Times(began=1.5, ended=2.5))
    assert list(reader.read()) == [
        [ENDED, True],
        [FAILED, "why", "a\ntrace", None, None],
        [BEGAN, 1.5],
        [FAILED, "why", "a\ntrace", 28, {"began": 1.5, "ended": 2.5}],
    ]


def test_letters_that_nobody_can_get_do_not_disturb_the_run(tmp_path):
    LetterWriter(tmp_path / "gone" / "run.jsonl").ended(was_kept=False)


def test_steps_are_told_now_and_then(path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("effbench.run.letters.time.monotonic", lambda: now[0])
    writer = LetterWriter(path)
    for done in range(8):
        writer.step(None, "train", done, 8)
        now[0] += 0.2
    assert [message[2] for message in LetterReader(path).read()] == [0, 3, 6]
    assert next(LetterReader(path).read()) == [STEP, "train", 0, 8]


def test_a_line_that_is_half_written_waits_and_one_that_is_none_is_passed_over(path):
    reader = LetterReader(path)
    path.write_bytes(b'["started"]\n["ep')
    assert list(reader.read()) == [[STARTED]]
    with path.open("ab") as stream:
        stream.write(b'och", {}]\n{"no": "message"}\n[]\n\xff\n["sta["ended", false]\n["ended", false]\n')
    assert list(reader.read()) == [[EPOCH, {}], [ENDED, False]]
