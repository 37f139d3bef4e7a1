"""Runs logged and read back: the only place that knows MLflow.

Importing it turns off MLflow's usage telemetry, the links that it prints and its progress bars for files, and has its
client give up on a server that is away after seconds and not after eight minutes (a sweep logs later what it can't log
now), unless the user has decided about them: MLFLOW_DISABLE_TELEMETRY, MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR, MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT.
"""

import logging
import os
import warnings

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for every run, into the table
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a bar for each file of a few kilobytes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # each retry
# That it made its tables is no news; what goes wrong is raised, too, and told in one line.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
# In a notebook without widgets, for bars that nothing here draws.
warnings.filterwarnings("ignore", message="IProgress not found")
