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
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from ..message import Message
from ..storage import Database

__all__ = ["FORGOTTEN", "Forgotten", "Keys", "MemoryKeys", "SQLiteKeys", "Shredder", "Tampered"]

FORGOTTEN = "[forgotten]"  #: what is read instead of a value whose key is gone
_SEALED = "$sealed"
_NONCE = 12  # bytes, as AES-GCM wants it


class Forgotten(LookupError):
    """The key of this subject was dropped; nothing personal can be written about it any more."""


class Tampered(ValueError):
    """An encrypted value was changed, or stands at a place for which it was not made."""


class Keys(Protocol):
    """A key for each subject, until it is forgotten."""

    def get(self, subject: str) -> bytes | None:
        """The key, or None for one that is unknown or forgotten."""
        ...

    def get_or_make(self, subject: str) -> bytes:
        """The key, made now if there was none. Raises `Forgotten`."""
        ...

    def forget(self, subject: str) -> None:
        """Drop the key, for good. Idempotent."""
        ...


class MemoryKeys:
    """Keys that live as long as their process."""

    def __init__(self) -> None:
        self._keys: dict[str, bytes | None] = {}  # None where the subject is forgotten

    def get(self, subject: str) -> bytes | None:
        return self._keys.get(subject)

    def get_or_make(self, subject: str) -> bytes:
        key = self._keys.setdefault(subject, os.urandom(32))
        if key is None:
            raise Forgotten(f"{subject} is forgotten; nothing personal can be written about it")
        return key

    def forget(self, subject: str) -> None:
        self._keys[subject] = None


class SQLiteKeys:
    """Keys in a file of their own. Use it with `with`. What is forgotten is overwritten on the disk."""

    def __init__(self, path: str | Path) -> None:
        self.database = Database(path)

    def __enter__(self) -> SQLiteKeys:
        self.database.__enter__()
        self.database.execute("PRAGMA secure_delete = ON")
        self.database.create(("CREATE TABLE IF NOT EXISTS keys (subject TEXT PRIMARY KEY, key BLOB)",))
        return self

    def __exit__(self, *_: object) -> None:
        self.database.__exit__()

    def get(self, subject: str) -> bytes | None:
        row = self.database.execute("SELECT key FROM keys WHERE subject = ?", subject).fetchone()
        return None if row is None else row[0]

    def get_or_make(self, subject: str) -> bytes:
        with self.database.transaction():
            self.database.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", subject, os.urandom(32))
            key = self.get(subject)
        if key is None:
            raise Forgotten(f"{subject} is forgotten; nothing personal can be written about it")
        return key

    def forget(self, subject: str) -> None:
        with self.database.transaction():
            self.database.execute("INSERT OR REPLACE INTO keys VALUES (?, NULL)", subject)
        self.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the write-ahead log had the key too


class Shredder:
    """Seals personal fields of messages with the key of their subject, and opens them while it exists."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def seal(self, message: Message, subject: str, fields: tuple[str, ...]) -> Message:
        """The message with these fields of its body encrypted; None stays None.

        Raises `Forgotten` for a subject whose key was dropped.
        """
        key = self._keys.get_or_make(subject)
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
        sealed = {name: value for name, value in message.body.items() if is_sealed(value)}
        opened = {name: self._read(value, _place(message, name)) for name, value in sealed.items()}
        return message.copy(body=message.body | opened) if sealed else message

    def _read(self, value: dict[str, str], place: bytes) -> Any:
        key = self._keys.get(value["subject"])
        if key is None:
            return FORGOTTEN
        return _decrypted(key, b64decode(value[_SEALED]), place)


def is_sealed(value: object) -> bool:
    """Whether this is an encrypted value."""
    return isinstance(value, dict) and value.keys() == {_SEALED, "subject"}


def _encrypt(key: bytes, value: object, subject: str, place: bytes) -> dict[str, str]:
    nonce = os.urandom(_NONCE)
    data = _library().AESGCM(key).encrypt(nonce, json.dumps(value, allow_nan=False).encode(), place)
    return {_SEALED: b64encode(nonce + data).decode(), "subject": subject}


def _decrypted(key: bytes, data: bytes, place: bytes) -> Any:
    from cryptography.exceptions import InvalidTag

    try:
        return json.loads(_library().AESGCM(key).decrypt(data[:_NONCE], data[_NONCE:], place))
    except InvalidTag:
        raise Tampered(f"the encrypted value of {place.decode()} is not the one that was stored") from None


def _place(message: Message, field: str) -> bytes:
    """What an encrypted value is bound to."""
    return f"{message.id}/{field}".encode()


def _library() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.ciphers import aead
    except ImportError as error:
        raise ImportError("crypto-shredding needs the library: pip install cryptography") from error
    return aead
