"""Encrypt what must not lie in clear: opted-in prompt content on its way to the log store, and secrets at rest.

An envelope names the master key that it was made under, so master keys can be changed while old envelopes stay
readable until they are re-wrapped. This module keeps no secret but the keys it is given; who may see plaintext is
`accounts.access`' business.

    KeyringError(ValueError)
     ├─ InvalidMasterKeys    KAIROS_MASTER_KEYS cannot be used; the message says what to set
     ├─ UnknownMasterKey     the envelope was made under a key that this keyring does not hold
     └─ DamagedEnvelope      not an envelope, tampered with, or made for another purpose

Envelope: `version (1) | length of key id | key id | salt (16) | nonce (12) | AES-256-GCM ciphertext and tag`.
Everything before the ciphertext, the purpose, and what the envelope is bound to (its owner) are authenticated with it.
The data key is HKDF-SHA256 of the master key with the salt; a process draws a salt at its start and a new one after
2**30 envelopes, which keeps random nonces far below the limit of 2**32 messages a key (NIST SP 800-38D, section 8.3).
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import re
import secrets
import threading
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

CONTENT = "request-content"
PROVIDER_KEY = "provider-credential"

_VERSION = 1
_KEY_BYTES = 32
_SALT_BYTES = 16
_NONCE_BYTES = 12
_TAG_BYTES = 16
_ENVELOPES_PER_SALT = 1 << 30
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HOW_TO = (
    "KAIROS_MASTER_KEYS is a list such as '2026-11:<base64 of 32 bytes>,2026-01:<…>'; the first is used for new data."
)


class KeyringError(ValueError):
    """Something cannot be encrypted or decrypted. The message holds no key and no plaintext."""


class InvalidMasterKeys(KeyringError):
    pass


class UnknownMasterKey(KeyringError):
    pass


class DamagedEnvelope(KeyringError):
    pass


@dataclass(frozen=True, slots=True)
class _Parts:
    key_id: str
    salt: bytes
    nonce: bytes
    ciphertext: bytes
    head: bytes


class Keyring:
    """Master keys by id; the first one encrypts, all of them decrypt. Thread-safe."""

    def __init__(self, master_keys: dict[str, bytes]) -> None:
        """Take keys of 32 bytes by id, the current one first.

        Raises:
            InvalidMasterKeys: there is none, or an id or a length is wrong.
        """
        if not master_keys:
            raise InvalidMasterKeys(f"There is no master key. {_HOW_TO}")
        for key_id, key in master_keys.items():
            if not _KEY_ID.fullmatch(key_id):
                raise InvalidMasterKeys(f"A master key's id is 1 to 64 letters, digits, '.', '_' or '-'. {_HOW_TO}")
            if len(key) != _KEY_BYTES:
                raise InvalidMasterKeys(f"The master key {key_id!r} has {len(key)} bytes, not {_KEY_BYTES}. {_HOW_TO}")
        self._masters = dict(master_keys)
        self.current_key_id = next(iter(master_keys))
        self._lock = threading.Lock()
        self._salt = b""
        self._left = 0
        self._cipher = functools.lru_cache(maxsize=256)(self._derive)

    @classmethod
    def from_settings(cls, master_keys: str, secret_key: str) -> Keyring:
        """Build the keyring of a deployment.

        `master_keys` is `"id:base64key,…"`, current first. The last key is always derived from `secret_key`: alone it
        serves an installation that sets none, and beside others it still reads what was written before they were set.

        Raises:
            InvalidMasterKeys: an entry is malformed or an id stands twice.
        """
        masters: dict[str, bytes] = {}
        for entry in filter(None, (part.strip() for part in master_keys.split(","))):
            key_id, separator, encoded = entry.partition(":")
            if not separator or key_id in masters:
                raise InvalidMasterKeys(f"A master key has no id, or an id stands twice. {_HOW_TO}")
            try:
                masters[key_id] = base64.b64decode(encoded, validate=True)
            except binascii.Error as error:
                raise InvalidMasterKeys(f"A master key is no base64. {_HOW_TO}") from error
        derived = _hkdf(secret_key.encode(), salt=b"", info="kairosroute master key")
        masters.setdefault(f"derived-{hashlib.sha256(derived).hexdigest()[:12]}", derived)
        return cls(masters)

    def encrypt(self, plaintext: bytes, *, purpose: str = CONTENT, bound_to: str = "") -> bytes:
        """Return an envelope under the current master key; it opens for the same purpose and binding only.

        `bound_to` says whose it is: an envelope that is copied to another row does not open there.
        """
        salt = self._fresh_salt()
        key_id = self.current_key_id
        head = bytes((_VERSION, len(key_id))) + key_id.encode() + salt
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return head + nonce + self._cipher(key_id, salt, purpose).encrypt(nonce, plaintext, head + bound_to.encode())

    def decrypt(self, envelope: bytes, *, purpose: str = CONTENT, bound_to: str = "") -> bytes:
        """Return what `encrypt` was given.

        Raises:
            UnknownMasterKey: the key that it was made under is not on this keyring.
            DamagedEnvelope: it is no envelope, was changed, or was made for another purpose, owner or key.
        """
        parts = _split(envelope)
        if parts.key_id not in self._masters:
            raise UnknownMasterKey(f"The master key {parts.key_id!r} is not in KAIROS_MASTER_KEYS.")
        cipher = self._cipher(parts.key_id, parts.salt, purpose)
        try:
            return cipher.decrypt(parts.nonce, parts.ciphertext, parts.head + bound_to.encode())
        except InvalidTag:
            raise DamagedEnvelope(
                "The envelope was changed, or made with another key or for another purpose or owner."
            ) from None

    def needs_rewrap(self, envelope: bytes) -> bool:
        """Return whether the envelope was made under a master key that is not the current one."""
        return _split(envelope).key_id != self.current_key_id

    def rewrap(self, envelope: bytes, *, purpose: str = CONTENT, bound_to: str = "") -> bytes:
        """Return the envelope made anew under the current master key, itself if it is already. Raises as `decrypt`."""
        plaintext = self.decrypt(envelope, purpose=purpose, bound_to=bound_to)
        if not self.needs_rewrap(envelope):
            return envelope
        return self.encrypt(plaintext, purpose=purpose, bound_to=bound_to)

    def _fresh_salt(self) -> bytes:
        with self._lock:
            if self._left == 0:
                self._salt, self._left = secrets.token_bytes(_SALT_BYTES), _ENVELOPES_PER_SALT
            self._left -= 1
            return self._salt

    def _derive(self, key_id: str, salt: bytes, purpose: str) -> AESGCM:
        return AESGCM(_hkdf(self._masters[key_id], salt=salt, info=f"kairosroute {purpose}"))


def open_content(envelope: bytes) -> bytes:
    """Return the content of a call that the data plane of this deployment encrypted. Raises as `Keyring.decrypt`."""
    return deployment_keyring().decrypt(envelope)


def deployment_keyring() -> Keyring:
    """Return the keyring that the deployment's settings describe. Raises `InvalidMasterKeys`."""
    from django.conf import settings

    return _keyring(settings.MASTER_KEYS, settings.SECRET_KEY)


@functools.lru_cache(maxsize=1)
def _keyring(master_keys: str, secret_key: str) -> Keyring:
    return Keyring.from_settings(master_keys, secret_key)


def _split(envelope: bytes) -> _Parts:
    id_end = 2 + (envelope[1] if len(envelope) > 1 else 0)
    head_end = id_end + _SALT_BYTES
    nonce_end = head_end + _NONCE_BYTES
    if len(envelope) < nonce_end + _TAG_BYTES or envelope[0] != _VERSION:
        raise DamagedEnvelope("This is no envelope that this release reads.")
    try:
        key_id = envelope[2:id_end].decode("ascii")
    except UnicodeDecodeError as error:
        raise DamagedEnvelope("This is no envelope that this release reads.") from error
    return _Parts(
        key_id=key_id,
        salt=envelope[id_end:head_end],
        nonce=envelope[head_end:nonce_end],
        ciphertext=envelope[nonce_end:],
        head=envelope[:head_end],
    )


def _hkdf(key: bytes, *, salt: bytes, info: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=salt, info=info.encode()).derive(key)
