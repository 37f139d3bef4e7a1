"""The public API: every name is there, says what it is, and shows an example that runs."""

import inspect
from importlib.metadata import version

import pytest

import effbench

NAMES = [name for name in effbench.__all__ if name not in ("models", "__version__")]
OBJECTS = {
    **{name: getattr(effbench, name) for name in NAMES},
    **{f"models.{name}": getattr(effbench.models, name) for name in effbench.models.__all__},
}


def test_every_name_is_there_and_no_other():
    assert set(dir(effbench)) == set(effbench.__all__) and effbench.__version__ == version("effbench")
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = effbench.nothing


@pytest.mark.parametrize("shown", OBJECTS.values(), ids=OBJECTS)
def test_everything_public_shows_an_example(shown):
    page = inspect.getdoc(shown) or ""
    assert ">>> " in page and len(page.splitlines()[0]) > 20


@pytest.mark.parametrize("shown", [o for o in OBJECTS.values() if inspect.isfunction(o)], ids=lambda o: o.__name__)
def test_every_function_says_what_it_raises(shown):
    assert "Error" in inspect.getdoc(shown) or "ValueError" in inspect.getdoc(shown)
