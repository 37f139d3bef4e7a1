"""MLflow's autologging: off within, and as it was afterwards."""

import sys

import mlflow
import pytest
from mlflow.utils import autologging_utils

from effbench.checks.autologging import without_autologging

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")


def is_off():
    return autologging_utils._AUTOLOGGING_GLOBALLY_DISABLED


def test_it_is_off_within_and_on_again_also_after_a_failure():
    with without_autologging():
        assert is_off()
    assert not is_off()
    with pytest.raises(ValueError, match="x"), without_autologging():
        raise ValueError("x")
    assert not is_off()


def test_who_has_it_off_already_finds_it_off():
    with autologging_utils.disable_autologging():
        with without_autologging():
            assert is_off()
        assert is_off()


def test_mlflow_is_not_imported_for_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "mlflow.utils.autologging_utils")
    with without_autologging():
        assert not is_off()
        assert "mlflow.utils.autologging_utils" not in sys.modules
    assert mlflow.__name__ == "mlflow"
