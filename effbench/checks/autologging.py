"""MLflow's autologging, which the calling program may have on: left as it is, and off for as long as effbench trains.

MLflow is not imported for it: where nobody has, nothing logs by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_autologging() -> Iterator[None]:
    """Have MLflow log nothing by itself within: neither to a run that is active, nor to runs that it would begin."""
    mlflow = sys.modules.get("mlflow.utils.autologging_utils")
    # Who has it off already would find it on again afterwards: MLflow does not count.
    if mlflow is None or getattr(mlflow, "_AUTOLOGGING_GLOBALLY_DISABLED", False):
        yield
        return
    with mlflow.disable_autologging():
        yield
