"""The names under which runs are logged: each once, and those of effbench told from those of MLflow."""

import dataclasses

from effbench.analysis.curves.quality import Quality
from effbench.tracking import names

VALUES = {name: value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}


def test_no_two_names_are_one():
    assert len(set(VALUES.values())) == len(VALUES)


def test_tags_have_a_prefix():
    plain = {"CONFIG_FILE", "COUNTS", "CURVE", "MODEL_FILE", "QUALITY"}
    assert all(value.startswith(("effbench.", "mlflow.")) for name, value in VALUES.items() if name not in plain)


def test_all_that_is_known_of_a_quality_has_a_column():
    fields = [field.name for field in dataclasses.fields(Quality)]
    assert list(names.QUALITY_COLUMNS) == [f"quality_{field}" for field in fields]
