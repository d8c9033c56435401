"""Keys as users write them, and what a ring does with bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from taskrunner import ConfigError, CryptoError
from taskrunner.config import Config
from taskrunner.crypto import EncryptionRing, Key, SigningRing, keys_of

SECRET = "ab" * 32
OLD, NEW, OTHER = (Key(name, os.urandom(32)) for name in ("old", "new", "old"))
HERE, THERE = b"here", b"there"


def test_a_new_key_can_be_read_again() -> None:
    key = Key.new()
    assert Key.parse(key.text) == key
    assert Key.new("shop-2026").id == "shop-2026"
    assert Key.new().text != key.text


def test_the_same_secret_is_the_same_key_however_it_is_written() -> None:
    raw = bytes.fromhex(SECRET)
    url_safe = Key.parse(raw).text.partition(":")[2]
    plain = url_safe.replace("-", "+").replace("_", "/")
    ways: list[str | bytes] = [SECRET, SECRET.upper(), raw, url_safe, url_safe.rstrip("="), plain]
    assert {Key.parse(way) for way in ways} == {Key.parse(SECRET)}


def test_a_key_does_not_show_its_secret() -> None:
    assert SECRET not in repr(Key.parse(SECRET))
    assert Key.parse(SECRET).text.partition(":")[2] not in repr(Key.parse(SECRET))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("abc", "a secret of 2 bytes instead of 32"),
        ("a:" + "ab" * 16, "a secret of 24 bytes"),
        ("not base64!", "neither base64 nor hex"),
        (":" + SECRET, "without an id"),
        ("a b:" + SECRET, "a key's id is 1 to 32"),
        ("x" * 33 + ":" + SECRET, "a key's id is 1 to 32"),
        (f"a:{SECRET},a:{'cd' * 32}", "the same id"),
        (f"a:{SECRET},b:{SECRET}", "the same secret"),
        ("file:/nowhere/keys", "cannot be read: No such file"),
    ],
)
def test_what_is_no_key_is_explained_without_showing_it(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Config.load(environ={"TASKRUNNER_ENCRYPTION_KEYS": text}, folder=tmp_path)
    assert "TASKRUNNER_ENCRYPTION_KEYS=***: " in str(caught.value)
    for secret in (SECRET, "not base64!", "abc"):
        assert secret not in str(caught.value)


def test_keys_come_from_text_lists_and_files(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# the newest first\nnew:{SECRET}\n\nold:{'cd' * 32}  # until March\n")
    path.chmod(0o600)
    found = keys_of([f"file:{path}", "ef" * 32])
    assert [Key.parse(text).id for text in found][:2] == ["new", "old"]
    assert keys_of(",".join(found)) == found
    config = Config.load(code={"encryption_keys": [f"file:{path}"]}, environ={}, folder=tmp_path)
    assert config.shown("encryption_keys") == ["new", "old"]
    assert Config.unpack(config.pack()) == config
    assert SECRET not in repr(config)
    assert config.encryption_keys[0].partition(":")[2] not in repr(config)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604, 0o602])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys"
    path.write_text(SECRET)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"mode 0{mode:o}, so that others may use it"):
        Config.load(code={"signing_keys": [f"file:{path}"]}, environ={}, folder=tmp_path)


def test_a_misspelt_variable_does_not_show_its_key(tmp_path: Path) -> None:
    for name in ("TASKRUNNER_ENCRYPTION_KEY", "TASKRUNNER_ENCRYPTIONKEYS", "TASKRUNNER_MY_TOKEN"):
        with pytest.raises(ConfigError, match="no such setting") as caught:
            Config.load(environ={name: SECRET}, folder=tmp_path)
        assert SECRET not in str(caught.value)


def test_what_one_ring_encrypts_every_ring_with_that_key_decrypts() -> None:
    old, both = EncryptionRing([OLD]), EncryptionRing([NEW, OLD])
    assert both.decrypt("old", old.encrypt(b"plain", HERE), HERE) == b"plain"
    assert both.decrypt("new", both.encrypt(b"", HERE), HERE) == b""
    with pytest.raises(CryptoError, match="encryption key 'new' is not known here") as caught:
        old.decrypt("new", both.encrypt(b"plain", HERE), HERE)
    assert caught.value.key_id == "new"


def test_what_was_altered_or_moved_is_refused() -> None:
    ring = EncryptionRing([OLD])
    sealed = ring.encrypt(b"plain", HERE)
    for at in range(len(sealed)):
        bent = bytearray(sealed)
        bent[at] ^= 1
        with pytest.raises(CryptoError):
            ring.decrypt("old", bytes(bent), HERE)
    for bad, place in [(sealed[:-1], HERE), (sealed[:10], HERE), (b"", HERE), (sealed, THERE)]:
        with pytest.raises(CryptoError):
            ring.decrypt("old", bad, place)
    with pytest.raises(CryptoError, match="another secret"):
        EncryptionRing([OTHER]).decrypt("old", sealed, HERE)


def test_no_nonce_is_used_twice_not_even_across_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = EncryptionRing([OLD])
    nonces = [ring.encrypt(b"x", HERE)[:16] for _ in range(100)]
    here = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: here + 1)  # as a child that was forked sees it
    nonces += [ring.encrypt(b"x", HERE)[:16] for _ in range(100)]
    nonces.append(EncryptionRing([OLD]).encrypt(b"x", HERE)[:16])
    assert len(set(nonces)) == len(nonces)
    assert len({nonce[:12] for nonce in nonces}) == 3


def test_a_salt_is_given_up_when_its_numbers_are_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskrunner.crypto.MOST_PER_SALT", 3)
    ring = EncryptionRing([OLD])
    sealed = [ring.encrypt(b"x", HERE) for _ in range(8)]
    assert [int.from_bytes(one[12:16], "big") for one in sealed] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert len({one[:16] for one in sealed}) == 8
    assert all(ring.decrypt("old", one, HERE) == b"x" for one in sealed)


def test_many_senders_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskrunner.crypto.SENDERS_KEPT", 4)
    reader = EncryptionRing([OLD])
    for _ in range(10):
        assert reader.decrypt("old", EncryptionRing([OLD]).encrypt(b"x", HERE), HERE) == b"x"
    assert len(reader._readers) <= 4


def test_a_signature_holds_for_its_bytes_its_place_and_its_key() -> None:
    ring = SigningRing([NEW, OLD])
    signature = ring.sign(b"plain", HERE)
    ring.verify("new", signature, b"plain", HERE)
    ring.verify("old", SigningRing([OLD]).sign(b"plain", HERE), b"plain", HERE)
    for key, plain, place in [
        ("new", b"plain!", HERE),
        ("new", b"plain", THERE),
        ("old", b"plain", HERE),
        ("new", b"eplain", b"her"),
    ]:
        with pytest.raises(CryptoError):
            ring.verify(key, signature, plain, place)
    with pytest.raises(CryptoError, match="signing key 'third' is not known here"):
        ring.verify("third", signature, b"plain", HERE)


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.ciphers", None)
    monkeypatch.setitem(
        __import__("sys").modules, "cryptography.hazmat.primitives.ciphers.aead", None
    )
    with pytest.raises(ConfigError, match=r"pip install 'taskrunner-queue\[encryption\]'"):
        EncryptionRing([OLD])
    SigningRing([OLD])  # needs nothing
