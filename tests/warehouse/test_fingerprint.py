import farmhash
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.warehouse import fingerprint

texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=300)


@pytest.mark.parametrize(
    ("text", "expected"),
    [  # from BigQuery's reference of FARM_FINGERPRINT
        ("1footrue", -1541654101129638711),
        ("2applefalse", 2794438866806483259),
        ("3true", -4880158226897771312),
    ],
)
def test_the_answers_are_those_of_bigquerys_reference(text, expected):
    assert fingerprint.of_text(text) == fingerprint.of_bytes(text.encode()) == expected


@given(texts)
@settings(max_examples=300)
def test_bytes_hash_as_farmhash_itself_hashes_them(text):
    assert fingerprint.of_bytes(text.encode()) % 2**64 == farmhash.fingerprint64(text)


@pytest.mark.parametrize("length", range(260))
def test_every_length_hashes_as_farmhash_itself_does(length):
    text = "".join(chr(32 + (i * i * 31 + length) % 90) for i in range(length))

    assert fingerprint.of_bytes(text.encode()) % 2**64 == farmhash.fingerprint64(text)


def test_a_text_with_a_nul_is_hashed_whole():
    assert len({fingerprint.of_text(text) for text in ("a", "a\0", "a\0b")}) == 3


def test_without_the_extension_the_answers_are_the_same(monkeypatch):
    with_it = [fingerprint.of_text("word" * size) for size in range(40)]
    monkeypatch.setattr(fingerprint, "_quick", None)

    assert [fingerprint.of_text("word" * size) for size in range(40)] == with_it
