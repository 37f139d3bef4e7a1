"""What the tests of folders share: folders of class folders, and a cache of their own."""

import pytest

CLASSES = ("cat", "dog", "emu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def touch_images():
    """Return what makes class folders of empty files: none of them is opened to be listed."""

    def touch(folder, n_per_class, *, classes=CLASSES, inside="."):
        for name in classes:
            (folder / name / inside).mkdir(parents=True, exist_ok=True)
            for number in range(n_per_class):
                (folder / name / inside / f"{number:03}.png").touch()

    return touch
