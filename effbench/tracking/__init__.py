"""Runs logged and read back: the only place that knows MLflow.

Importing it turns MLflow's usage telemetry off (MLFLOW_DISABLE_TELEMETRY), unless the user has decided about it.
"""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
