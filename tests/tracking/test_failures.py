"""What MLflow and its database raise, told in one line."""

import sqlite3

import pytest
from mlflow.exceptions import MlflowException

from effbench.tracking.failures import speaking_plainly
from effbench.tracking.tracker import TrackingError


@pytest.mark.parametrize(
    ("uri", "error", "told"),
    [
        (
            "http://me:secret@there:5000",
            MlflowException("no answer from http://me:secret@there:5000\nand more"),
            "tracking.uri=http://me:***@there:5000: can't be used (no answer from http://me:***@there:5000)",
        ),
        (
            "sqlite:////a/b.db",
            sqlite3.DatabaseError("file is not a database"),
            "tracking.uri=sqlite:////a/b.db: can't be used (file is not a database); "
            "move that file away, or name another tracking.uri",
        ),
        (
            "sqlite:////a/b.db",
            sqlite3.OperationalError("database is locked"),
            "tracking.uri=sqlite:////a/b.db: can't be used (database is locked)",
        ),
        (
            "postgresql://there/db",
            MlflowException("(raised as a result of Query-invoked autoflush; consider x)\n(DataError) too long\nmore"),
            "tracking.uri=postgresql://there/db: can't be used ((DataError) too long)",
        ),
        ("sqlite:////a/b.db", OSError(), "tracking.uri=sqlite:////a/b.db: can't be used (OSError)"),
    ],
)
def test_the_key_is_named_without_passwords_and_with_a_remedy_where_there_is_one(uri, error, told):
    with pytest.raises(TrackingError) as caught, speaking_plainly(uri):
        raise error
    assert str(caught.value) == told


def test_what_a_client_of_a_store_raises_is_told_of_its_files():
    refused = type("NoSuchBucket", (type("ClientError", (Exception,), {"__module__": "botocore.exceptions"}),), {})
    with pytest.raises(TrackingError) as caught, speaking_plainly("http://x"):
        raise refused("there is no such bucket: s3://k:secret@b\nand more")
    told = "tracking.artifacts: the files of runs can't be kept where they are to be (there is no such bucket: s3://k:***@b)"
    assert str(caught.value) == told


def test_other_errors_pass_through():
    with pytest.raises(KeyError), speaking_plainly("http://x"):
        raise KeyError("x")
