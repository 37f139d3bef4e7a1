"""What is refused before any work: a deleted experiment, and one whose files would go where nobody else finds them."""

import http.server
import json
import subprocess
import sys
import threading
from urllib.parse import parse_qs, urlparse

import pytest
from mlflow.tracking import MlflowClient

from effbench.tracking.experiment import artifact_uri, find_experiment, why_no_place, why_refused

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")


@pytest.fixture(autouse=True)
def clients(monkeypatch):
    """Have every client of a store of files installed; returns the names of those that are not."""
    missing = set()
    monkeypatch.setattr("effbench.tracking.storage._is_there", lambda module: module not in missing)
    return missing


@pytest.fixture
def server():
    """Return what stands for a tracking server: its experiments by name, as (id, stage, location)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.n_asked += 1
            query = parse_qs(urlparse(self.path).query)
            wanted = query.get("experiment_name", query.get("experiment_id"))[0]
            found = [e for name, e in self.server.experiments.items() if wanted in (name, e[0])]
            status, body = 404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}
            if found:
                number, stage, location = found[0]
                node = {"experiment_id": number, "lifecycle_stage": stage, "artifact_location": location}
                status, body = 200, {"experiment": node}
            content = json.dumps(body).encode()
            self.send_response(self.server.status or status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments): ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.uri = f"http://127.0.0.1:{server.server_address[1]}"
    server.experiments, server.status, server.n_asked = {}, None, 0
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_deleted_experiment_of_a_file_is_refused_with_what_restores_it(uri, here, opened):
    assert why_refused(uri, "effbench", None) is None
    opened(uri).abandon_sweep()
    assert why_refused(uri, "effbench", None) is None
    client = MlflowClient(uri)
    number = client.get_experiment_by_name("effbench").experiment_id
    client.delete_experiment(number)
    message = why_refused(uri, "effbench", None)
    assert message.startswith("tracking.experiment=effbench: was deleted; `")
    assert f"`MLFLOW_TRACKING_URI={uri} mlflow experiments restore --experiment-id {number}`" in message
    assert find_experiment(uri, "effbench").is_deleted
    assert why_refused(uri, "another", None) is None
    client.restore_experiment(number)
    assert why_refused(uri, "effbench", None) is None


def test_of_a_database_with_a_server_of_its_own_the_same_is_known(uri, opened):
    opened(uri).abandon_sweep()
    from effbench.tracking.experiment import _in_database

    assert _in_database(uri, "effbench") == find_experiment(uri, "effbench")
    assert _in_database(uri, "other") is None
    message = why_refused("postgresql+nodriver://me:secret-word@there/db", "effbench", None)
    assert message.startswith("tracking.uri=postgresql+nodriver://me:***@there/db: can't be used (")
    assert "secret-word" not in message


def test_a_deleted_experiment_of_a_server_costs_one_request(server, monkeypatch):
    server.experiments["effbench"] = ("7", "deleted", "mlflow-artifacts:/7")
    message = why_refused(server.uri, "effbench", None)
    assert f"`MLFLOW_TRACKING_URI={server.uri} mlflow experiments restore --experiment-id 7`" in message
    assert server.n_asked == 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    assert "`mlflow experiments restore --experiment-id 7`" in why_refused(server.uri, "effbench", None)
    signed = server.uri.replace("http://", "http://me:pw%40x@")
    message = why_refused(signed, "effbench", None)
    assert "MLFLOW_TRACKING_USERNAME=me MLFLOW_TRACKING_PASSWORD=***" in message and "pw" not in message


@pytest.mark.parametrize("location", ["/home/first/mlruns/0", "file:///home/first/mlruns/0", "./mlruns/0"])
def test_a_server_that_keeps_no_files_is_told_where_to_put_them(server, location, here):
    server.experiments["Default"] = ("0", "active", location)
    message = why_refused(server.uri, "effbench", None)
    assert message.startswith("tracking.artifacts: ") and "tracking.artifacts=s3://bucket" in message
    assert why_refused(server.uri, "effbench", "s3://bucket/x") is None
    assert why_refused(server.uri, "effbench", str(here / "shared")) is None
    server.experiments["effbench"] = ("1", "active", (here / "shared").as_uri())
    assert why_refused(server.uri, "effbench", None) is None  # where somebody put it, and it can be written


@pytest.mark.parametrize("location", ["mlflow-artifacts:/0", "s3://bucket/0"])
def test_a_server_that_keeps_files_is_asked_nothing_more(server, location):
    server.experiments["Default"] = ("0", "active", location)
    assert why_refused(server.uri, "effbench", None) is None
    server.experiments["effbench"] = ("1", "active", location)
    server.n_asked = 0
    assert why_refused(server.uri, "effbench", None) is None
    assert server.n_asked == 1


def test_a_store_without_its_client_is_refused_wherever_it_is_named(server, clients, uri, opened):
    clients.add("boto3")
    install = "s3:// needs boto3, which is not installed; pip install 'effbench[s3]'"
    assert why_refused(uri, "effbench", "s3://bucket") == f"tracking.artifacts=s3://bucket: {install}"
    server.experiments["Default"] = ("0", "active", "s3://bucket/0")
    assert why_refused(server.uri, "effbench", None).endswith(f"keeps files in s3://bucket/0: {install}")
    server.experiments["effbench"] = ("1", "active", "s3://bucket/1")
    assert why_refused(server.uri, "effbench", None).endswith(f"has its files in s3://bucket/1: {install}")
    assert why_refused(uri, "effbench", "gs://bucket") is None


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("postgresql://me@nowhere/db", "(No module named 'psycopg'); pip install 'effbench[postgresql]'"),
        ("postgresql+psycopg2://me@nowhere/db", "(No module named 'psycopg2'); pip install 'effbench[postgresql]'"),
        ("mysql+pymysql://me@nowhere/db", "(No module named 'pymysql'); pip install 'pymysql'"),
    ],
)
def test_a_database_without_its_driver_says_what_to_install(monkeypatch, uri, told):
    driver = told.partition("'")[2].partition("'")[0]
    monkeypatch.setitem(sys.modules, driver, None)
    message = why_refused(uri, "effbench", None)
    assert message.startswith(f"tracking.uri={uri}: the driver of that database is not installed (")
    assert message.endswith(told.partition(")")[2]) and "\n" not in message


def test_files_of_an_experiment_that_go_elsewhere_are_refused(server, uri, opened, here):
    server.experiments["effbench"] = ("1", "active", "s3://bucket/x")
    assert why_refused(server.uri, "effbench", "s3://bucket/x/") is None
    opened(uri).abandon_sweep()
    for place in (server.uri, uri):
        message = why_refused(place, "effbench", "s3://other")
        assert message.startswith("tracking.artifacts=s3://other: ") and "another tracking.experiment" in message
    assert why_refused(uri, "effbench", "mlruns") is None  # as it is


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_is_said_so_and_one_in_trouble_is_no_reason_to_wait(server, status):
    server.status = status
    assert f"the server refuses ({status}" in why_refused(server.uri, "effbench", None)
    server.status = 503
    assert why_refused(server.uri, "effbench", None) is None


def test_a_place_for_files_is_a_folder_or_a_uri_without_a_password(here):
    assert artifact_uri("a ?b") == (here / "a ?b").as_uri()
    assert artifact_uri("s3://bucket/x/") == "s3://bucket/x"
    assert why_no_place("a/new/folder") is None and not (here / "a").exists()
    (here / "taken").touch()
    assert "taken is no folder" in why_no_place("taken/x")
    assert "must be a folder, or a URI of s3" in why_no_place("nope://x")
    assert "its password would stand in the database" in why_no_place("ftp://me:pw@there/x")
    assert "UTF-8" in why_no_place("a\udcff/x")


def test_it_costs_no_import_of_mlflow_or_sqlalchemy(uri):
    program = f"import sys; from effbench.tracking.experiment import why_refused as w; w({uri!r}, 'x', None)"
    program += "; print([m for m in ('mlflow', 'sqlalchemy', 'torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
