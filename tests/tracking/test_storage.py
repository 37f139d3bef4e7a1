"""What is to be installed for a store of files is said, and what its client raises is known."""

import sys

import pytest

from effbench.tracking.storage import is_of_storage, why_no_client


@pytest.mark.parametrize(
    ("uri", "module", "package"),
    [
        ("s3://bucket/x", "boto3", "effbench[s3]"),
        ("r2://bucket@account.r2.cloudflarestorage.com", "boto3", "effbench[s3]"),
        ("gs://bucket", "google.cloud.storage", "google-cloud-storage"),
        ("wasbs://a@b.blob.core.windows.net/x", "azure.storage.blob", "azure-storage-blob"),
    ],
)
def test_a_missing_client_is_named_with_what_installs_it(monkeypatch, uri, module, package):
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)  # what Python takes for one that is not there
    told = why_no_client(uri)
    assert told == f"{uri.partition(':')[0]}:// needs {module}, which is not installed; pip install '{package}'"


@pytest.mark.parametrize(
    "uri", ["/a/b", "a folder", "file:///a/b", "mlflow-artifacts:/1", "http://there/x", "ftp://x/y"]
)
def test_folders_and_servers_need_none(uri):
    assert why_no_client(uri) is None


def test_an_installed_one_is_not_missing():
    pytest.importorskip("pyarrow", reason="pyarrow, the client of hdfs, is not installed")
    assert why_no_client("hdfs://there/x") is None


@pytest.mark.parametrize(
    "module", ["botocore.exceptions", "boto3.exceptions", "google.api_core.exceptions", "azure.core"]
)
def test_exceptions_are_known_by_whose_they_or_what_they_derive_from_are(module):
    kind = type("Refused", (Exception,), {"__module__": module})
    own = type("MyRefusal", (kind,), {"__module__": "somebody"})
    assert is_of_storage(kind()) and is_of_storage(own())
    assert not is_of_storage(ValueError()) and not is_of_storage(type("E", (Exception,), {"__module__": "bot"})())
