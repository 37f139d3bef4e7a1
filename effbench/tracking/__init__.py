"""Runs logged and read back: the only place that knows MLflow.

Importing it turns MLflow's usage telemetry off (MLFLOW_DISABLE_TELEMETRY), unless the user has decided about it.
"""

import logging
import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # that it made its tables is no news
