"""Energy counters: what is read of them, and what is not."""

import pytest

from effbench.measure.energy_counter import EnergyCounter


def make_zone(root, name, value, most=1_000_000):
    folder = root / name
    folder.mkdir()
    (folder / "energy_uj").write_text(f"{value}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")
    return folder / "energy_uj"


@pytest.fixture
def machine(tmp_path):
    """Return the counters of two packages and a part of one, what a call of 4,000 µJ is, and a clock of 1 ms a call."""
    files = [make_zone(tmp_path, "intel-rapl:0", 100), make_zone(tmp_path, "intel-rapl:1", 998_000)]
    make_zone(tmp_path, "intel-rapl:0:0", 50)
    (tmp_path / "intel-rapl").mkdir()
    seconds = [0.0]

    def run():
        for file, share in zip(files, (3000, 1000), strict=True):
            file.write_text(str((int(file.read_text()) + share) % 1_000_001))
        seconds[0] += 0.001

    return EnergyCounter.find(tmp_path), run, lambda: seconds[0]


def test_packages_are_added_up_whose_counters_may_begin_anew(machine):
    counter, run, clock = machine
    assert len(counter.zones) == 2
    assert counter.mj_of(run, seconds=0.05, clock=clock) == pytest.approx(4.0)  # the second began anew on the way
    assert counter.mj_of(run, seconds=0, clock=clock) == pytest.approx(4.0)


def test_where_nothing_can_be_read_there_is_no_counter(tmp_path):
    assert EnergyCounter.find(tmp_path) is None and EnergyCounter.find(tmp_path / "none") is None
    folder = tmp_path / "intel-rapl:0"
    folder.mkdir()
    (folder / "max_energy_range_uj").write_text("10")
    assert EnergyCounter.find(tmp_path) is None
    (folder / "energy_uj").mkdir()  # as where only root may read it
    assert EnergyCounter.find(tmp_path) is None


def test_a_counter_that_is_gone_is_an_error(machine):
    counter, _, clock = machine
    counter.zones[0].file.unlink()
    with pytest.raises(OSError):
        counter.mj_of(lambda: None, seconds=0, clock=clock)
