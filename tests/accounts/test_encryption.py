from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import encryption
from accounts.encryption import Keyring

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


@given(plaintext=st.binary(max_size=2000))
def test_what_goes_in_comes_out(plaintext: bytes) -> None:
    keyring = Keyring({"2026-11": NEW})
    assert keyring.decrypt(keyring.encrypt(plaintext)) == plaintext


def test_an_envelope_shows_nothing_of_its_content_and_never_repeats() -> None:
    keyring = Keyring({"2026-11": NEW})
    first, second = keyring.encrypt(b"the words of a prompt"), keyring.encrypt(b"the words of a prompt")
    assert b"words" not in first
    assert first != second


def test_another_process_with_the_same_key_reads_it() -> None:
    assert Keyring({"a": NEW}).decrypt(Keyring({"a": NEW}).encrypt(b"x")) == b"x"


def test_a_key_of_the_same_name_that_is_another_key_is_refused() -> None:
    with pytest.raises(encryption.DamagedEnvelope):
        Keyring({"a": OLD}).decrypt(Keyring({"a": NEW}).encrypt(b"x"))


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(encryption.UnknownMasterKey, match="'2026-11'"):
        Keyring({"2026-01": OLD}).decrypt(Keyring({"2026-11": NEW}).encrypt(b"x"))


def test_another_purpose_is_refused() -> None:
    keyring = Keyring({"a": NEW})
    with pytest.raises(encryption.DamagedEnvelope):
        keyring.decrypt(keyring.encrypt(b"x", purpose="provider-credential"), purpose=encryption.CONTENT)


def test_every_changed_byte_and_every_missing_byte_is_noticed() -> None:
    keyring = Keyring({"a": NEW})
    envelope = keyring.encrypt(b"hello")
    for position in range(len(envelope)):
        changed = bytearray(envelope)
        changed[position] ^= 1
        with pytest.raises(encryption.KeyringError):
            keyring.decrypt(bytes(changed))
        with pytest.raises(encryption.KeyringError):
            keyring.decrypt(envelope[:position])


@given(noise=st.binary(max_size=120))
def test_noise_is_no_envelope(noise: bytes) -> None:
    with pytest.raises(encryption.KeyringError):
        Keyring({"a": NEW}).decrypt(noise)


def test_the_first_key_encrypts_and_older_envelopes_are_rewrapped() -> None:
    before = Keyring({"2026-01": OLD})
    after = Keyring({"2026-11": NEW, "2026-01": OLD})
    envelope = before.encrypt(b"x")
    assert after.needs_rewrap(envelope)
    rewrapped = after.rewrap(envelope)
    assert not after.needs_rewrap(rewrapped)
    assert after.rewrap(rewrapped) is rewrapped
    assert Keyring({"2026-11": NEW}).decrypt(rewrapped) == b"x"


def test_settings_name_the_current_key_first() -> None:
    keyring = Keyring.from_settings(f"2026-11:{encoded(NEW)}, 2026-01:{encoded(OLD)},", "secret")
    assert keyring.current_key_id == "2026-11"
    assert keyring.decrypt(Keyring({"2026-01": OLD}).encrypt(b"x")) == b"x"


def test_without_master_keys_the_secret_key_serves_and_stays_readable_when_one_is_set() -> None:
    derived = Keyring.from_settings("", "the secret")
    envelope = derived.encrypt(b"x")
    assert Keyring.from_settings("", "the secret").decrypt(envelope) == b"x"
    assert Keyring.from_settings(f"2026-11:{encoded(NEW)}", "the secret").decrypt(envelope) == b"x"
    with pytest.raises(encryption.UnknownMasterKey):
        Keyring.from_settings("", "another secret").decrypt(envelope)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (encoded(NEW), "has no id"),
        (f"a:{encoded(NEW)},a:{encoded(OLD)}", "stands twice"),
        ("a:not base64!", "no base64"),
        (f"a:{encoded(NEW[:16])}", "has 16 bytes, not 32"),
        (f"a b:{encoded(NEW)}", "letters, digits"),
    ],
)
def test_a_malformed_list_of_keys_says_what_to_set(text: str, says: str) -> None:
    with pytest.raises(encryption.InvalidMasterKeys, match=says) as caught:
        Keyring.from_settings(text, "secret")
    assert "KAIROS_MASTER_KEYS" in str(caught.value)
    assert encoded(NEW)[:10] not in str(caught.value)


def test_a_salt_serves_a_bounded_number_of_envelopes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption, "_ENVELOPES_PER_SALT", 2)
    keyring = Keyring({"a": NEW})
    salts = [keyring.encrypt(b"x")[3:19] for _ in range(4)]
    assert salts[0] == salts[1] != salts[2] == salts[3]


def test_content_of_this_deployment_is_opened_with_its_settings(settings) -> None:
    settings.MASTER_KEYS = f"2026-11:{encoded(NEW)}"
    assert encryption.open_content(Keyring({"2026-11": NEW}).encrypt(b"words")) == b"words"
    with pytest.raises(ValueError, match="not in KAIROS_MASTER_KEYS"):
        encryption.open_content(Keyring({"other": NEW}).encrypt(b"words"))
