"""Where files are kept that lie neither in a folder nor with MLflow's server: what their clients need, and raise."""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import urlparse

_AMAZON = ("boto3", "effbench[s3]")
_AZURE = ("azure.storage.filedatalake", "azure-storage-file-datalake' 'azure-identity")
_CLIENTS = {
    "s3": _AMAZON,
    "r2": _AMAZON,
    "b2": _AMAZON,
    "gs": ("google.cloud.storage", "google-cloud-storage"),
    "wasb": ("azure.storage.blob", "azure-storage-blob"),
    "wasbs": ("azure.storage.blob", "azure-storage-blob"),
    "abfss": _AZURE,
    "sftp": ("pysftp", "pysftp"),
    "hdfs": ("pyarrow", "pyarrow"),
    "viewfs": ("pyarrow", "pyarrow"),
}
"""By scheme the module that MLflow's client for it imports, and what is to be installed for that."""
_PACKAGES = (
    "boto3",
    "botocore",
    "s3transfer",
    "google",
    "azure",
    "paramiko",
    "pysftp",
    "ftplib",
    "requests",
    "urllib3",
)


def why_no_client(uri: str, /) -> str | None:
    """Return what is to be installed before files can be kept at a URI; None where nothing is."""
    scheme = urlparse(uri).scheme
    module, package = _CLIENTS.get(scheme, ("", ""))
    if not module or _is_there(module):
        return None
    return f"{scheme}:// needs {module}, which is not installed; pip install '{package}'"


def is_of_storage(error: BaseException, /) -> bool:
    """Whether an exception is one of a client of such a place: they derive from no class that they have in common."""
    return any(kind.__module__.partition(".")[0] in _PACKAGES for kind in type(error).__mro__)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # what it is a part of is not there
        return False
