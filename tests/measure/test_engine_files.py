"""What engines share that run files: one is written, measured, read again and gone; exporters are silent."""

import logging
import lzma
import random
import sys
import warnings

import pytest
import torch
from torch import nn

from effbench.measure.engine import Engine, Prepared
from effbench.measure.engine_files import Exported, FileEngine, compressed_bytes, silently


class Pickling(FileEngine):
    """Runs what torch.save writes."""

    name = "pickling"
    SUFFIX = ".pt"

    def __init__(self):
        self.paths, self.threads = [], []

    def export(self, model, example_input, folder, /):
        path = folder / f"network{self.SUFFIX}"
        torch.save(model.state_dict(), path)
        self.paths.append(path)
        return Exported(path=path, int8_weights=7, notes=("from the export",))

    def load(self, path, example_input, /, *, threads):
        self.threads.append(threads)
        state = torch.load(path)

        def outputs(images):
            return images @ state["weight"].T + state["bias"]

        return Prepared(run=lambda: outputs(example_input), outputs=outputs, notes=("from the file",))


def test_a_network_is_written_measured_and_read_again_and_the_file_is_gone():
    engine, layer, images = Pickling(), nn.Linear(200, 2), torch.randn(4, 200)
    with torch.no_grad():
        layer.weight.zero_()
    prepared = engine.prepare(layer, images, threads=3)
    assert isinstance(engine, Engine) and isinstance(prepared, Prepared)
    assert engine.threads == [3]
    (path,) = engine.paths
    assert not path.exists() and not path.parent.exists()
    assert prepared.n_bytes > 200 * 2 * 4 > prepared.download_bytes > 0  # zeros
    assert prepared.int8_weights == 7
    assert list(prepared.notes) == ["from the export", "from the file"]
    assert torch.equal(prepared(), prepared.outputs(images))
    torch.testing.assert_close(prepared(), layer(images).detach())


def test_what_fails_leaves_no_folder():
    class Failing(Pickling):
        def load(self, path, example_input, /, *, threads):
            raise ValueError("it can't be read")

    engine = Failing()
    with pytest.raises(ValueError, match="it can't be read"):
        engine.prepare(nn.Linear(2, 2), torch.zeros(1, 2), threads=1)
    assert not engine.paths[0].parent.exists()


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("n_bytes", [0, 1, 2**20, 2**20 + 1, 3 * 2**20])
def test_the_compressed_length_is_that_of_xz_however_long_the_file_is(tmp_path, n_bytes):
    content = bytes(random.Random(0).randrange(4) for _ in range(min(n_bytes, 2**18))) * -(-n_bytes // 2**18)
    content = content[:n_bytes]
    path = tmp_path / "file"
    path.write_bytes(content)
    assert compressed_bytes(path) == len(lzma.compress(content, preset=6))


def test_within_silently_nothing_is_told_and_then_all_is_again(capsys, caplog):
    caplog.set_level(logging.INFO)
    with silently():
        print("printed")
        print("to stderr", file=sys.stderr)
        warnings.warn("a warning", stacklevel=1)
        logging.getLogger("exporter").warning("logged")
    assert capsys.readouterr() == ("", "") and not caplog.records
    print("after")
    logging.getLogger("exporter").warning("logged after")
    assert capsys.readouterr().out == "after\n"
    assert [record.message for record in caplog.records] == ["logged after"]
    with pytest.raises(UserWarning, match="then"):
        warnings.warn("then", stacklevel=1)


def test_silence_ends_with_an_error_and_leaves_an_earlier_limit():
    before = logging.root.manager.disable
    try:
        logging.disable(logging.CRITICAL)
        with pytest.raises(RuntimeError), silently():
            raise RuntimeError
        assert logging.root.manager.disable == logging.CRITICAL
    finally:
        logging.disable(before)


def test_errors_that_are_logged_are_told(caplog):
    with silently():
        logging.getLogger("exporter").error("it broke")
    assert [record.message for record in caplog.records] == ["it broke"]
