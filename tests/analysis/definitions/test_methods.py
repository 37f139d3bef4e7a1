import pytest

from effbench.analysis.definitions.methods import METHODS, method_of, options_of

OPTIONS = {"price": {"price": 5.0}}


@pytest.mark.parametrize("name", METHODS)
def test_methods_take_their_options(name):
    method = method_of(name, OPTIONS.get(name, {}))
    assert isinstance(method, METHODS[name])
    for option in options_of(name):
        assert hasattr(method, option)
    with pytest.raises(ValueError, match=rf"method '{name}' has no option 'tau'; it takes \['"):
        method_of(name, {**OPTIONS.get(name, {}), "tau": 1})


def test_what_is_lacking_is_said():
    with pytest.raises(ValueError, match="method 'price' needs price, as in price=1000"):
        method_of("price", {})
    with pytest.raises(ValueError, match="method 'price' needs price, as in price=1000"):
        method_of("price", {"price": None})
    with pytest.raises(ValueError, match="unknown method 'knee'; there are"):
        method_of("knee", {})
