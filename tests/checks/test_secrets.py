"""Passwords and tokens taken out of texts, and left where they are needed."""

import pytest

from effbench.checks.secrets import Login, hide_in_uris, hide_in_values, login_of, remember_secrets, without_secrets

SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://user:{}@there/db",
        "postgresql+psycopg://user:{}@there:5432/db?sslmode=require",
        "mysql+pymysql://user:{}@there/db",
        "http://user:{}@there:5000/mlflow",
        "https://:{}@there",
        "http://there/?password={}",
        "http://there/?page=1&access_token={}&x=2",
        "http://there/?p%61ssword={}",
        "s3://bucket/folder?AWS_SECRET_ACCESS_KEY={}",
        "https://there/x?sig={};y=1",
        "dbname=x password={} host=there",
    ],
)
@pytest.mark.parametrize("secret", [SECRET, "a@b", "a/b@c:d", "p%40ss%2Fword", "5432/x", "a#b?c"])
def test_the_secret_of_a_uri_is_not_shown_and_the_rest_is(uri, secret):
    if "=" in uri and "@" not in uri:
        secret = secret.replace("&", "").replace("?", "")
    for text in (uri.format(secret), f"can't reach {uri.format(secret)} now", f"'tracking.uri={uri.format(secret)}'"):
        hidden = hide_in_uris(text)
        assert secret not in hidden and "***" in hidden
        assert "there" in hidden or "bucket" in hidden
        assert hide_in_uris(hidden) == hidden


def test_a_token_in_the_users_place_is_a_secret():
    assert hide_in_uris(f"https://{'a1B2' * 8}@there/x") == "https://***@there/x"


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000",
        "http://user@there/x",
        "sqlite:////home/me:you@work/mlflow.db",
        "sqlite:///mlflow.db?timeout=3",
        "python -m effbench.sweep +tokens=0.5 seed=0,1 model.token=cls",
        "file:///somewhere/a@b:c",
        "http://there/a@b",
        "me@there.org: see http://there:80/x",
        "",
    ],
)
def test_what_is_no_secret_stays(text):
    assert hide_in_uris(text) == text


@pytest.mark.parametrize(
    ("uri", "login"),
    [
        ("http://me:pw@there:5000/x", Login("http://there:5000/x", "me", "pw")),
        ("http://me:p%40%2F@there", Login("http://there", "me", "p@/")),
        ("http://me:p@/w:d@there:1", Login("http://there:1", "me", "p@/w:d")),
        ("http://me:a/b@there", Login("http://there", "me", "a/b")),
        ("http://:pw@[::1]:80/", Login("http://[::1]:80/", "", "pw")),
        ("http://there:80/a@b", None),
        ("http://[::1]:80/a@b", None),
        ("http://there", None),
        ("sqlite:///a@b", None),
        ("nonsense@", None),
    ],
)
def test_user_and_password_are_read_as_they_were_meant(uri, login):
    assert login_of(uri) == login


def test_a_secret_is_known_again_where_it_stands_alone(monkeypatch):
    monkeypatch.setattr("effbench.checks.secrets._known", set())
    monkeypatch.setenv("SOME_SERVICE_TOKEN", "t0k3n-of-the-service")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "short")
    remember_secrets("postgresql://me:a%40b%2Fc%2Fd%2Fe@there/db?password=other-one")
    text = "refused a@b/c/d/e, a%40b%2Fc%2Fd%2Fe, other-one and t0k3n-of-the-service; a short word stays"
    assert without_secrets(text) == "refused ***, ***, *** and ***; a short word stays"
    remember_secrets("http://me:open@there")
    assert without_secrets("can't open opened (open)") == "can't *** opened (***)"


def test_values_keep_their_kinds():
    node = {"a": ["http://me:pw@there", 3, None], "b": {"c": ("x", 0.5)}, "d": True}
    assert hide_in_values(node) == {"a": ["http://me:***@there", 3, None], "b": {"c": ("x", 0.5)}, "d": True}
