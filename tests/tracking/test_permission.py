"""Who may not log is told so before any work, and asking leaves nothing behind."""

import http.server
import json
import threading
import urllib.error

import pytest

from effbench.tracking.experiment import why_refused
from effbench.tracking.permission import why_forbidden
from effbench.tracking.request import PASSWORD, TOKEN, USER, user_of


@pytest.fixture
def server(monkeypatch, tmp_path):
    """Return a server that knows its users; server.answers has (status, body) by the end of a path."""
    monkeypatch.setattr("effbench.tracking.request.CREDENTIALS", str(tmp_path / "credentials"))
    for name in (USER, PASSWORD, TOKEN):
        monkeypatch.delenv(name, raising=False)

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            size = int(self.headers.get("Content-Length") or 0)
            path = self.path.partition("?")[0].partition("mlflow/")[2]
            self.server.asked.append((path, json.loads(self.rfile.read(size) or "null")))
            status, body = self.server.answers.get(path, (400, {"error_code": "INVALID_PARAMETER_VALUE"}))
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self):
            self.answer()

        def do_POST(self):
            self.answer()

        def log_message(self, *arguments): ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.answers = [], {}
    server.uri = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def signed_in(monkeypatch):
    monkeypatch.setenv(USER, "reader")
    monkeypatch.setenv(PASSWORD, "a-word-of-mine")


FORBIDDEN = (403, {"message": "Permission denied"})


@pytest.mark.parametrize(
    ("number", "path", "what"), [("7", "runs/create", "log to"), (None, "experiments/create", "make")]
)
def test_who_may_not_is_told_so(server, signed_in, number, path, what):
    assert why_forbidden(server.uri, "mine", number) is None
    server.answers[path] = FORBIDDEN
    message = why_forbidden(server.uri, "mine", number)
    assert message.startswith(f"tracking.experiment=mine: reader has no permission there to {what} it (403)")
    assert "a-word-of-mine" not in message and "\n" not in message
    # Neither a run without a time that is one nor an experiment without a name can be made.
    bodies = {"7": {"experiment_id": "7", "start_time": "no time"}, None: {}}
    assert server.asked == [(path, bodies[number])] * 2


def test_where_nobody_signs_in_nothing_is_asked(server):
    server.answers["runs/create"] = FORBIDDEN
    assert why_forbidden(server.uri, "mine", "7") is None
    assert server.asked == []


def test_a_run_that_is_begun_in_spite_of_its_time_is_deleted(server, signed_in):
    server.answers["runs/create"] = (200, {"run": {"info": {"run_id": "abc"}}})
    assert why_forbidden(server.uri, "mine", "7") is None
    assert server.asked[1:] == [("runs/delete", {"run_id": "abc"})]


def test_a_wrong_password_is_told_by_whoever_asks(server, signed_in):
    server.answers["runs/create"] = (401, {})
    with pytest.raises(urllib.error.HTTPError):
        why_forbidden(server.uri, "mine", "7")


def test_it_is_asked_before_any_work(server, signed_in):
    found = {"experiment_id": "7", "lifecycle_stage": "active", "artifact_location": "mlflow-artifacts:/7"}
    server.answers |= {"experiments/get-by-name": (200, {"experiment": found}), "runs/create": FORBIDDEN}
    assert "reader has no permission there to log to it" in why_refused(server.uri, "mine", None)
    server.answers["experiments/get-by-name"] = FORBIDDEN
    assert "reader has no permission there to read it" in why_refused(server.uri, "mine", None)


def test_users_are_known_by_the_address_the_variables_or_mlflows_file(server, monkeypatch, tmp_path):
    assert user_of(server.uri) is None
    (tmp_path / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = kept\nmlflow_tracking_password = a-kept-word\n"
    )
    assert user_of(server.uri) == "kept"
    monkeypatch.setenv(USER, "named")
    assert user_of(server.uri) == "named"
    assert user_of(server.uri.replace("//", "//me:pw@")) == "me"
    (tmp_path / "credentials").write_text("no [file")
    assert user_of(server.uri) is None
    monkeypatch.setenv(TOKEN, "t")
    assert user_of(server.uri) == "who has that token"
