"""Runs logged and read back: the only place that knows MLflow.

Importing it turns off MLflow's usage telemetry and the links that it prints, unless the user has decided about them
(MLFLOW_DISABLE_TELEMETRY, MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT).
"""

import logging
import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for every run, into the table
# That it made its tables is no news; what goes wrong is raised, too, and told in one line.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
