"""How much memory is free: of the system, of control groups of both versions, of the process."""

from types import SimpleNamespace

import pytest

from effbench.measure.free_memory import free_memory

GB = 10**9


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Return what makes the files of a system: 8 GB free, and whatever is given."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def make(**files):
        files = {"proc/meminfo": f"MemTotal: 16000000 kB\nMemAvailable: {8 * GB // 1024} kB\n", **files}
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return make


def group(folder, limit, used, cached=0, *, version=2):
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }
    most, current, statistic = names[version]
    return {
        f"sys/fs/cgroup/{folder}{most}": f"{limit}\n",
        f"sys/fs/cgroup/{folder}{current}": f"{used}\n",
        f"sys/fs/cgroup/{folder}memory.stat": f"anon 5\n{statistic} {cached}\n",
    }


def test_it_is_what_the_system_says_where_there_is_no_limit(system):
    assert free_memory(system()) == 8 * GB // 1024 * 1024
    unlimited = {**group("", "max", 5), **group("user/", "max", 5)}
    assert free_memory(system(**{"proc/self/cgroup": "0::/user\n"}, **unlimited)) == 8 * GB // 1024 * 1024


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/\n", group("", 2 * GB, GB), GB),
        ("0::/\n", group("", 2 * GB, GB, 300), GB + 300),  # files that were read can go
        ("0::/a/b\n", group("a/b/", 3 * GB, GB), 2 * GB),
        ("0::/a/b\n", {**group("a/b/", 3 * GB, GB), **group("a/", GB, 1000)}, GB - 1000),  # an outer one is tighter
        ("0::/not/here\n", group("", 2 * GB, GB), GB),  # in a container the path is the host's
        ("4:memory:/job\n1:cpu:/\n", group("memory/job/", 2 * GB, GB, version=1), GB),
        ("4:cpu,memory:/x\n", group("memory/", 2 * GB, GB, 7, version=1), GB + 7),
        ("4:memory:/\n", group("memory/", 2**63 - 4096, GB, version=1), 8 * GB // 1024 * 1024),  # no limit
        ("0::/\n", group("", GB, 2 * GB), 0),
    ],
)
def test_it_is_what_the_tightest_control_group_leaves(system, cgroup, files, expected):
    assert free_memory(system(**{"proc/self/cgroup": cgroup}, **files)) == expected


def test_it_is_what_the_limit_of_the_process_leaves(system, monkeypatch):
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (2 * GB, 2 * GB))
    used = 1000 * resource.getpagesize()
    assert free_memory(system(**{"proc/self/statm": "1000 10 5 1 0 1 0\n"})) == 2 * GB - used


def test_where_there_are_no_such_files_the_system_is_asked(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=12345))
    assert free_memory(tmp_path) == 12345


def test_something_is_free_here():
    assert free_memory() > 10**6
