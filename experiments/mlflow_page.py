"""A picture of MLflow's page of a sweep: how experiments/prune_and_quantise_mlflow.png was made.

In the folder of the sweep's mlflow.db, with the address that the sweep printed behind "page:" (Chromium is needed):

    python -m effbench.sweep +prune=0.5,0.8,0.9 +bits=8,4 tracking.log_model=true
    python experiments/mlflow_page.py "http://127.0.0.1:5000/#/experiments/1/runs?…" page.png
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image

WINDOW = (2100, 700)
TABLE = (198, 8, 1560, 620)
"""What is kept of the window, in pixels: without MLflow's menu and its assistant."""
SECONDS = 120


def main(address: str, target: str) -> None:
    """Show the page of `address` by a server of its own, and keep a picture of it in the file `target`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(command, env=os.environ | environment, start_new_session=True)
    try:
        here = f"http://127.0.0.1:{port}"
        _wait_for(f"{here}/health")
        with tempfile.TemporaryDirectory() as private:
            picture = Path(private, "page.png")
            _photograph(f"{here}/#{address.partition('#')[2]}", picture, Path(private, "profile"))
            Image.open(picture).crop(TABLE).convert("P", palette=Image.Palette.ADAPTIVE).save(target, optimize=True)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _photograph(address: str, picture: Path, profile: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser is not None, "Chromium is not installed"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--virtual-time-budget=20000"]
    options += [f"--user-data-dir={profile}", f"--window-size={WINDOW[0]},{WINDOW[1]}", f"--screenshot={picture}"]
    for _ in range(3):  # a browser that is new to its profile may leave without a picture
        subprocess.run([browser, *options, address], check=False, capture_output=True, timeout=SECONDS)
        if picture.is_file():
            return
    raise SystemExit("Chromium made no picture")


def _wait_for(address: str) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{address} does not answer")


if __name__ == "__main__":
    main(*sys.argv[1:])
