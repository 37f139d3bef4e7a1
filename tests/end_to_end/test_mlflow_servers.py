"""Real servers: MLflow's with authentication, PostgreSQL, S3 as moto fakes it. Each is begun where its program is."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from importlib.util import find_spec
from pathlib import Path

import mlflow
import pytest
import torch
from mlflow.tracking import MlflowClient

import effbench
from effbench.tracking.request import CREDENTIALS, PASSWORD, USER

pytestmark = [
    pytest.mark.waiting,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

ADMIN, READER = ("admin", "the-word-of-admin"), ("reader", "the-word-of-reader")
SECONDS = 120
POSTGRES = next((f for f in (shutil.which("postgres"), *Path("/usr/lib/postgresql").glob("*/bin/postgres")) if f), None)
DRIVER = next((name for name in ("psycopg2", "psycopg") if find_spec(name)), None)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(is_there, process):
    until = time.monotonic() + SECONDS
    while not is_there():
        assert process.poll() is None and time.monotonic() < until, "it did not begin to answer"
        time.sleep(0.05)


def is_healthy(address):
    try:
        urllib.request.urlopen(f"{address}/health", timeout=1).close()
        return True
    except OSError:
        return False


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end(process, *, how=signal.SIGTERM):
    os.killpg(process.pid, how)
    process.wait(SECONDS)


@pytest.fixture(scope="module")
def postgres():
    """Return what gives the URI of a new, empty database on a PostgreSQL server."""
    if POSTGRES is None or DRIVER is None:
        pytest.skip("postgres is not installed" if POSTGRES is None else "no driver: pip install psycopg2-binary")
    folder = Path(tempfile.mkdtemp(prefix="effbench-postgres-"))  # pytest's own are closed to other users
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir(mode=0o700)
    who = {}
    if os.geteuid() == 0:  # whom it refuses to be
        who = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        shutil.chown(data, "nobody", "nogroup")
    programs = Path(POSTGRES).resolve().parent
    quietly = {"cwd": "/", "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **who}
    subprocess.run([programs / "initdb", "-D", data, "-A", "trust", "-U", "me", "--no-sync"], check=True, **quietly)
    port = free_port()
    options = [f"-p{port}", f"-k{data}", "-cfsync=off", "-clisten_addresses=127.0.0.1"]
    process = subprocess.Popen([programs / "postgres", "-D", data, *options], start_new_session=True, **quietly)

    def uri(name):
        import sqlalchemy

        address = f"postgresql+{DRIVER}://me:no-word-is-asked@127.0.0.1:{port}"
        engine = sqlalchemy.create_engine(f"{address}/postgres", isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return f"{address}/{name}"

    try:
        wait_for(lambda: listens(port), process)
        yield uri
    finally:
        end(process, how=signal.SIGINT)  # without waiting for who is connected
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(request, tmp_path_factory):
    """Return the URI of an MLflow server that knows its users, on PostgreSQL where that is there."""
    if find_spec("flask_wtf") is None:
        pytest.skip("what MLflow's authentication needs is not installed: pip install 'mlflow[auth]'")
    folder = tmp_path_factory.mktemp("server")
    backend = f"sqlite:///{folder / 'mlflow.db'}"
    if POSTGRES is not None and DRIVER is not None:
        backend = request.getfixturevalue("postgres")("server")
    settings = {
        "default_permission": "READ",
        "database_uri": f"sqlite:///{folder / 'auth.db'}",
        "admin_username": ADMIN[0],
        "admin_password": ADMIN[1],
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    }
    lines = ["[mlflow]", *(f"{name} = {value}" for name, value in settings.items())]
    (folder / "auth.ini").write_text("\n".join(lines))
    environment = {"MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"), "MLFLOW_FLASK_SERVER_SECRET_KEY": "x"}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # eight processes, for which nobody asks
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--app-name",
        "basic-auth",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += ["--backend-store-uri", backend, "--artifacts-destination", str(folder / "files")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | environment, stdout=log, stderr=log, start_new_session=True, cwd=folder
        )
    try:
        wait_for(lambda: is_healthy(f"http://127.0.0.1:{port}"), process)
        yield f"http://127.0.0.1:{port}"
    finally:
        end(process)


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """Return what tells how many requests an S3 had since it was last asked, by their method; its bucket is `runs`."""
    for name in ("moto", "boto3"):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install boto3 'moto[server]'")
    port, log = free_port(), tmp_path_factory.mktemp("s3") / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=stream, stderr=stream, start_new_session=True
        )
    seen = 0

    def asked():
        nonlocal seen
        lines = [line.partition('"')[2].split() for line in log.read_text().splitlines() if "HTTP/1.1" in line]
        new, seen = lines[seen:], len(lines)
        return [words[0] for words in new]

    settings = {
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "the-word-of-s3",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patched:
        for name, value in settings.items():
            patched.setenv(name, value)
        try:
            wait_for(lambda: listens(port), process)
            urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/runs", method="PUT")).close()
            yield asked
        finally:
            end(process)


@pytest.fixture
def signed_in(monkeypatch, tmp_path):
    """Return what signs somebody in, or nobody."""
    monkeypatch.setattr("effbench.tracking.request.CREDENTIALS", str(tmp_path / "none"))
    assert CREDENTIALS.startswith("~")

    def sign_in(user=None, password=None):
        for name, value in ((USER, user), (PASSWORD, password)):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)

    sign_in()
    return sign_in


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Return what runs one and the same small sweep, computed once; changes are of its tracking."""
    root = tmp_path_factory.mktemp("store")

    def run(seed=0, **tracking):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return effbench.run_sweep(
                model="lenet_300_100",
                bits=[4],
                seed=[seed],
                train={"epochs": 0},
                measure={"seconds": 0.001},
                sweep={"jobs": 1},
                store={"root": root},
                tracking=tracking,
                progress=False,
            )

    return run


def check_read(uri, sweep_id, *, with_models=False, **options):
    """Read all that there is of a sweep's runs from elsewhere; returns their table."""
    runs = effbench.load_runs(sweep=sweep_id, tracking_uri=uri, **options)
    assert sorted(runs["point"]) == ["bits=4", "reference"]
    assert effbench.load_counts(runs, tracking_uri=uri).by_run.keys() == set(runs["run_key"])
    network = effbench.load_model(runs.iloc[1], tracking_uri=uri)
    if with_models:
        mlflow.set_tracking_uri(uri)
        images = torch.randn(3, 1, 28, 28)
        again = mlflow.pytorch.load_model(f"runs:/{runs['run_id'].iloc[1]}/lenet_300_100")
        with torch.no_grad():
            assert (again(images) == network(images)).all()
        mlflow.set_tracking_uri(None)
    return runs


def test_a_sweep_on_a_server_that_knows_its_users(server, sweep, signed_in, capfd):
    signed_in(*ADMIN)
    result = sweep(uri=server)
    sweep(uri=server)  # goes on where it was
    client = MlflowClient(server)
    assert len(client.search_runs([client.get_experiment_by_name("effbench").experiment_id])) == 3
    signed_in()
    check_read(server.replace("//", f"//{ADMIN[0]}:{ADMIN[1]}@"), result.sweep_id)
    assert ADMIN[1] not in "".join(capfd.readouterr())


@pytest.mark.parametrize("who", [(), ("admin", "a-wrong-word-of-admin"), ("nobody-known", "a-wrong-word-of-admin")])
def test_who_is_not_known_is_refused_before_any_work(server, sweep, signed_in, who, capfd):
    signed_in(*who)
    with pytest.raises(ValueError, match="the server refuses \\(401") as refused:
        sweep(seed=1, uri=server)
    told = str(refused.value)
    assert USER in told and "\n" not in told and "a-wrong-word" not in told
    with pytest.raises(ValueError, match="can't be read") as unread:
        effbench.load_runs(tracking_uri=server)
    assert "\n" not in str(unread.value)
    assert "a-wrong-word" not in str(unread.value) + "".join(capfd.readouterr())


def test_who_may_only_read_is_refused_before_any_work(server, sweep, signed_in):
    signed_in(*ADMIN)
    body = json.dumps({"username": READER[0], "password": READER[1]}).encode()
    from effbench.tracking.request import _authorization

    headers = {"Content-Type": "application/json", **_authorization(server)}
    request = urllib.request.Request(f"{server}/api/2.0/mlflow/users/create", data=body, headers=headers)
    urllib.request.urlopen(request).close()
    client = MlflowClient(server)
    number = client.create_experiment("of the admin")
    signed_in(*READER)
    with pytest.raises(ValueError, match="reader has no permission there to log to it") as refused:
        sweep(uri=server, experiment="of the admin")
    assert READER[1] not in str(refused.value) and "\n" not in str(refused.value)
    assert client.search_runs([number]) == []


def test_postgresql_without_a_server(postgres, sweep, tmp_path):
    uri = postgres("direct")
    program = (
        "import sys; from effbench.tracking.write import MlflowTracker as T; T(sys.argv[1], 'x', artifacts=sys.argv[2])"
    )
    command = [sys.executable, "-c", program, uri, str(tmp_path / "files")]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(process.communicate()[1], process.returncode) for process in both] == [("", 0)] * 2  # both make its tables
    with pytest.raises(ValueError, match="keeps no files itself") as refused:
        sweep(uri=uri)
    assert "no-word-is-asked" not in str(refused.value)
    result = sweep(uri=uri, artifacts=str(tmp_path / "files"))
    runs = check_read(uri, result.sweep_id)
    sweep(uri=uri)
    assert check_read(uri, result.sweep_id)["run_id"].tolist() == runs["run_id"].tolist()
    with pytest.raises(ValueError, match="can't be used") as away:
        sweep(uri=uri.replace("/direct", "/none"))
    assert "no-word-is-asked" not in str(away.value) and "\n" not in str(away.value)


def test_files_in_s3(s3, sweep, tmp_path, empty_database, capfd):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    result = sweep(uri=uri, artifacts="s3://runs/here/", log_model=True)
    check_read(uri, result.sweep_id, with_models=True)
    assert not (tmp_path / "mlruns").exists()
    s3()
    sweep(uri=uri, artifacts="s3://runs/here")
    assert set(s3()) <= {"PUT"}  # the answer's files; nothing is listed or fetched
    capfd.readouterr()
    sweep(uri=uri, experiment="other", artifacts="s3://no-such-bucket")
    told = "".join(capfd.readouterr())
    assert "not logged: 2 of 2 runs (tracking.artifacts: the files of runs can't be kept" in told
    assert "NoSuchBucket" in told and "the-word-of-s3" not in told
