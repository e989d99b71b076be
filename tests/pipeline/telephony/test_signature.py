"""Signatures agree with Twilio's own validator."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.telephony import signature
from twilio.request_validator import RequestValidator, get_signature_algorithm

TOKEN = "0123456789abcdef"
URLS = [
    "https://agent.example/twilio/voice",
    "https://agent.example:8443/twilio/voice?a=1&b=2",
    "wss://agent.example/twilio/media",
    "wss://agent.example:443/twilio/media",
]
texts = st.text(st.characters(codec="utf-8"), max_size=20)


@pytest.mark.parametrize("algorithm", [signature.SHA1, signature.SHA256])
@pytest.mark.parametrize("url", URLS)
@given(form=st.dictionaries(texts, texts, max_size=5))
def test_signing_is_the_official_one(url, algorithm, form):
    """For any form, URL and hash the signature is the validator's."""
    official = RequestValidator(TOKEN).compute_signature(url, form, algorithm)
    assert signature.sign(TOKEN, url, form.items(), algorithm) == official


@pytest.mark.parametrize("url", URLS[:2])
@pytest.mark.parametrize("signed_with_port", [True, False])
def test_a_webhook_may_be_signed_with_or_without_its_port(url, signed_with_port):
    """As the validator, both forms of the URL are accepted."""
    host = "https://agent.example" + ("" if not signed_with_port else ":8443" if ":8443" in url else ":443")
    signed = host + url[url.index("/twilio") :]
    validator = RequestValidator(TOKEN)
    given_signature = validator.compute_signature(signed, {"A": "1"})
    assert validator.validate(url, {"A": "1"}, given_signature)
    assert signature.is_valid(TOKEN, url, [("A", "1")], given_signature)


def test_repeated_parameters_are_signed_once_each():
    """A parameter with several values is signed as the validator does for a multi-dict: each value, sorted, once."""

    class Multi(dict):
        def getall(self, name):
            return self[name]

    official = RequestValidator(TOKEN).compute_signature(URLS[0], Multi(A=["2", "1", "2"], B=["x"]))
    assert signature.sign(TOKEN, URLS[0], [("B", "x"), ("A", "2"), ("A", "1"), ("A", "2")]) == official


@pytest.mark.parametrize(
    ("token", "url", "form"),
    [
        ("another token", URLS[2], []),
        (TOKEN, "https://agent.example/twilio/media", []),
        (TOKEN, URLS[2] + "/", []),
        (TOKEN, URLS[2], [("A", "1")]),
    ],
)
def test_anything_else_is_refused(token, url, form):
    """Another token, scheme, path or form makes another signature."""
    good = signature.sign(TOKEN, URLS[2])
    assert signature.is_valid(TOKEN, URLS[2], [], good)
    assert not signature.is_valid(token, url, form, good)


def test_an_unknown_algorithm_is_refused():
    """With an unknown hash there is no fallback to another."""
    good = signature.sign(TOKEN, URLS[0])
    assert not signature.is_valid(TOKEN, URLS[0], [], good, "HMAC_MD5")


@pytest.mark.parametrize(
    "header", [None, "", "key=k", "key=k,algorithm=HMAC_SHA256", " algorithm = HMAC_SHA256 ,x", "algorithm="]
)
def test_the_algorithm_is_read_as_officially(header):
    """The settings header is read as twilio-python reads it."""
    assert signature.parse_algorithm(header) == get_signature_algorithm(header)
