"""Only whom Google vouches for, and who is named, may post."""

import http.client
import threading
import time

import pytest

from flywheel.listen import server
from flywheel.pushers import Pushers, Refused
from flywheel.trigger import Look
from tests.stand_ins.signer import Signer

AUDIENCE, ACCOUNT = "https://flywheel.example.com", "push@project.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def google():
    with Signer() as signer:
        yield signer


@pytest.fixture
def pushers(google):
    google.asked, google.down = 0, False
    return Pushers(AUDIENCE, [ACCOUNT], google.url)


def test_a_token_of_the_named_account_for_this_audience_is_admitted(google, pushers):
    pushers(f"Bearer {google.token()}")
    pushers(f"bearer {google.token(exp=int(time.time()) - 5)}")  # clocks differ by seconds

    assert google.asked == 1


@pytest.mark.parametrize(
    ("claims", "status", "why"),
    [
        ({"aud": "https://other.example.com"}, 401, "wrong audience"),
        ({"iss": "https://evil.example.com"}, 401, "issued by 'https://evil.example.com'"),
        ({"exp": 1_700_000_000, "iat": 1_699_990_000}, 401, "expired"),
        ({"iat": 4_000_000_000, "exp": 4_000_003_600}, 401, "too early"),
        ({"forged": True}, 401, "could not verify"),
        ({"exp": None}, 401, "required claim exp"),
        ({"email": "someone@project.iam.gserviceaccount.com"}, 403, "someone@project"),
        ({"email": None}, 403, "without e-mail address"),
        ({"email_verified": False}, 403, "none that may post"),
    ],
)
def test_any_other_token_is_refused_with_what_is_wrong(google, pushers, claims, status, why):
    with pytest.raises(Refused) as refused:
        pushers(f"Bearer {google.token(**claims)}")

    assert refused.value.status == status
    assert why in str(refused.value).replace("Could", "could")


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer  ", "Basic dXNlcjpwYXNz", "Bearer secret", "Bearer a.b.c", "é"]
)
def test_what_is_no_token_is_refused_and_not_repeated(pushers, header):
    with pytest.raises(Refused) as refused:
        pushers(header)

    assert refused.value.status == 401
    assert "secret" not in str(refused.value)


def test_a_token_without_signature_is_refused(google, pushers):
    header, claims, _ = google.token().split(".")
    unsigned = "eyJhbGciOiJub25lIn0"  # {"alg":"none"}
    for token in (f"{unsigned}.{claims}.", f"{header}.{claims}.", f"{header}.{claims}.AAAA"):
        with pytest.raises(Refused, match="is not good"):
            pushers(f"Bearer {token}")


def test_without_certificates_the_message_comes_again(google, pushers):
    google.down = True
    with pytest.raises(Refused) as refused:
        pushers(f"Bearer {google.token()}")
    assert refused.value.status == 503

    google.down = False
    pushers(f"Bearer {google.token()}")


def test_certificates_are_asked_for_once_an_hour_whatever_is_posted(google):
    now = [0.0]
    pushers = Pushers(AUDIENCE, [ACCOUNT], google.url, clock=lambda: now[0])
    google.asked, google.down = 0, False
    for token in ("rubbish", google.token(forged=True), google.token()) * 3:
        try:
            pushers(f"Bearer {token}")
        except Refused:
            continue
    assert google.asked == 1

    now[0] = 3601.0
    pushers(f"Bearer {google.token()}")
    assert google.asked == 2


def test_the_listener_looks_for_nobody_else_and_tells_who_was_refused(google, pushers):
    looks, told = [], []

    def look():
        looks.append(1)
        return Look("flights", "2026-03-01", True, "")

    made = server(look, "127.0.0.1", 0, told.append, pushers)
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    connection = http.client.HTTPConnection("127.0.0.1", made.server_address[1], timeout=20)

    def post(**headers):
        connection.request("POST", "/", "{}", headers)  # one connection: a refusal leaves it usable
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers.get("WWW-Authenticate")

    try:
        assert post() == (401, "Bearer")
        assert post(Authorization=f"Bearer {google.token(email='else@where')}") == (403, None)
        assert looks == []
        assert post(Authorization=f"Bearer {google.token()}") == (200, None)
        assert looks == [1]
    finally:
        connection.close()
        made.shutdown()
        made.server_close()

    assert told[0] == "refused 127.0.0.1: there is no bearer token in the header Authorization"
    assert told[1] == "refused 127.0.0.1: else@where is none that may post"
