"""Packages that may not be there."""

import sys

import pytest

from effbench.checks.extras import import_extra


def test_a_package_that_is_there():
    assert import_extra("json", needed_by="this").dumps([1]) == "[1]"


@pytest.mark.parametrize(
    ("extra", "words"), [(None, r"pip install 'effbench\[timm\]'"), ("pictures", r"effbench\[pictures\]")]
)
def test_one_that_is_not_installed(monkeypatch, extra, words):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=rf"model=timm:x needs timm, which is not installed: .*{words}"):
        import_extra("timm", needed_by="model=timm:x", extra=extra)


@pytest.mark.parametrize("content", ["import not_there_at_all", "raise RuntimeError('too old')", "1 +"])
def test_one_that_can_not_be_imported(monkeypatch, tmp_path, content):
    (tmp_path / "broken_extra.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="x:y: broken_extra can't be imported") as caught:
        import_extra("broken_extra", needed_by="x:y")
    assert "\n" not in str(caught.value)
