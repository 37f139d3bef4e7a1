"""One request to a server: who asks is said, and what answers is understood."""

import base64
import http.server
import json
import os
import threading
import urllib.error

import pytest

from effbench.tracking.request import PASSWORD, TOKEN, USER, ask, ask_json, sign_in


@pytest.fixture
def server(monkeypatch):
    """Return a server that notes who asks; server.answer is (status, body)."""
    for name in (USER, PASSWORD, TOKEN):
        monkeypatch.delenv(name, raising=False)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append((self.path, self.headers.get("Authorization")))
            status, body = self.server.answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments): ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.answer = [], (200, b"{}")
    server.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def basic(user, password):
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.mark.parametrize("written", ["p%40s%2Fs", "p@s/s"])
def test_user_and_password_of_the_address_go_into_the_header(server, written):
    ask(f"http://me:{written}@{server.address}/base/", "/health", experiment_name="a b&c")
    assert server.asked == [("/base/health?experiment_name=a+b%26c", basic("me", "p@s/s"))]


def test_mlflows_own_variables_say_who_asks(server, monkeypatch):
    ask(f"http://{server.address}", "/health")
    monkeypatch.setenv(TOKEN, "t")
    ask(f"http://{server.address}", "/health")
    monkeypatch.setenv(USER, "u")
    monkeypatch.setenv(PASSWORD, "p")
    ask(f"http://{server.address}", "/health")
    assert [who for _, who in server.asked] == [None, "Bearer t", basic("u", "p")]


def test_what_is_not_there_is_told_from_what_is_no_mlflow_server(server):
    uri = f"http://{server.address}"
    server.answer = (404, json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST"}).encode())
    assert ask_json(uri, "/x") is None
    server.answer = (404, b"not found")
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask_json(uri, "/x")
    caught.value.close()
    for body in (b"<html>", b"[1]"):
        server.answer = (200, body)
        with pytest.raises(OSError, match="no MLflow server"):
            ask_json(uri, "/x")
    with pytest.raises(OSError):
        ask("http://127.0.0.1:9", "/health")
    with pytest.raises(OSError):
        ask("http://127.0.0.1:port", "/health")


def test_a_password_goes_to_its_own_server_only(monkeypatch):
    monkeypatch.setenv(USER, "before")
    monkeypatch.delenv(PASSWORD, raising=False)
    assert sign_in("http://me:p%40@there:1/x") == "http://there:1/x"
    assert (os.environ[USER], os.environ[PASSWORD]) == ("me", "p@")
    assert sign_in("http://other") == "http://other"
    assert os.environ[USER] == "before" and PASSWORD not in os.environ
    assert sign_in("postgresql://me:pw@there/db") == "postgresql://me:pw@there/db"
    assert PASSWORD not in os.environ
