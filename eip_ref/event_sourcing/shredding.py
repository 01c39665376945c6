"""Crypto-shredding: an event never changes, but who forgets the key of a person cannot read it any more.

Personal fields are encrypted with a key per subject before they are stored, in events and in
snapshots alike. Forgetting the key makes them unreadable in the log and in every copy of it; a
projection loses them when it is rebuilt. A forgotten subject stays forgotten: no new key is made
under its id.

Keys and nonces come from the operating system and not from a seeded generator, since what can be
repeated is no secret. The event id and the field are authenticated with each value, so none can be
moved to another place. Encryption is AES-256-GCM of the library `cryptography`.

*Left out:* a key management service that holds the keys, their rotation, and values that were copied
elsewhere in the clear. Keep the file of the keys apart from the backups of the log: a backup of the
keys brings the forgotten back.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from types import ModuleType
from typing import Any

from .. import values
from ..message import Message
from ..storage import Store

FORGOTTEN = "[forgotten]"  #: what is read instead of a value whose key is gone
KEYS = "keys"  # the table: a key by subject, as hexadecimal digits, or null when it is forgotten
_SEALED = "$sealed"
_NONCE = 12  # bytes, as AES-GCM wants it


class Forgotten(LookupError):
    """The key of this subject was dropped; nothing personal can be written about it any more."""


class Tampered(ValueError):
    """An encrypted value was changed, or stands at a place for which it was not made."""


class Shredder:
    """Seals personal fields of messages with the key of their subject, and opens them while it exists.

    The keys are documents in the store `keys`. On a disk, use a file of their own.
    """

    def __init__(self, keys: Store) -> None:
        self._store = keys

    async def forget(self, subject: str) -> None:
        """Drop the key of this subject, for good: its bytes leave the disk too. Idempotent.

        Raises sqlite3.OperationalError when another process reads the file for too long: the key is
        dropped, and its bytes may still be there; forget it again.
        """
        await self._store.run(lambda transaction: transaction.put(KEYS, subject, None))
        await self._store.erase()

    def seal(self, message: Message, subject: str, fields: tuple[str, ...]) -> Message:
        """The message with these fields of its body encrypted; None stays None.

        Raises `Forgotten` for a subject whose key was dropped.
        """
        key = self._key_to_write(subject)
        sealed = {
            name: _encrypt(key, value, subject, _place(message, name))
            for name in fields
            if (value := message.body.get(name)) is not None
        }
        return message.copy(body=message.body | sealed)

    def open(self, message: Message) -> Message:
        """The message with all that can be read in the clear, and `FORGOTTEN` for the rest."""
        if not isinstance(message.body, dict):
            return message
        sealed = {name: value for name, value in message.body.items() if _is_sealed(value)}
        opened = {name: self._read(value, _place(message, name)) for name, value in sealed.items()}
        return message.copy(body=message.body | opened) if sealed else message

    def _read(self, value: dict[str, str], place: bytes) -> Any:
        with self._store.reading() as transaction:
            key = transaction.get(KEYS, value["subject"])
        if key is None:
            return FORGOTTEN
        return _decrypted(bytes.fromhex(key), b64decode(value[_SEALED]), place)

    def _key_to_write(self, subject: str) -> bytes:
        """The key, made now if there was none. Raises `Forgotten`."""
        with self._store.transaction() as transaction:
            key = transaction.get(KEYS, subject, "")
            if key == "":
                transaction.put(KEYS, subject, key := os.urandom(32).hex())
        if key is None:
            raise Forgotten(f"{subject} is forgotten; nothing personal can be written about it")
        return bytes.fromhex(key)


def _is_sealed(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {_SEALED, "subject"}


def _encrypt(key: bytes, value: object, subject: str, place: bytes) -> dict[str, str]:
    nonce = os.urandom(_NONCE)
    text = values.to_json(f"the personal field {place.decode()}", value)
    data = _library().AESGCM(key).encrypt(nonce, text.encode(), place)
    return {_SEALED: b64encode(nonce + data).decode(), "subject": subject}


def _decrypted(key: bytes, data: bytes, place: bytes) -> Any:
    from cryptography.exceptions import InvalidTag

    try:
        return json.loads(_library().AESGCM(key).decrypt(data[:_NONCE], data[_NONCE:], place))
    except (InvalidTag, ValueError):  # or it is too short to be one
        raise Tampered(f"the encrypted value of {place.decode()} is not the one that was stored") from None


def _place(message: Message, field: str) -> bytes:
    """The event and the field to which an encrypted value is bound."""
    return f"{message.id}/{field}".encode()


def _library() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.ciphers import aead
    except ImportError as error:
        raise ImportError("crypto-shredding needs the library: pip install cryptography") from error
    return aead
