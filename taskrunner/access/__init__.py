"""Who may do what with a task queue over the network. Knows nothing of HTTP frameworks.

    guard ─▶ door ─┬─ keyring, keystore, keys     API keys
                   ├─ tokens, keyfile             tokens that others have signed
                   └─ certificates                client certificates
      │              └─▶ an Identity ─▶ may(scope, queue=, task=)
      └─▶ audit: lines, and a trail in the store

`guard.py` stands in front of the service, as ASGI middleware; `scopes.py` says what there is to be allowed,
`identity.py` who was recognised. How much may be asked is in `rules.py` and `buckets.py`.
"""

from __future__ import annotations

from taskrunner.access.identity import ANYBODY, Identity, Kind
from taskrunner.access.keyring import KeyRing
from taskrunner.access.keys import StoredKey
from taskrunner.access.keystore import KeyStore, Made
from taskrunner.access.scopes import Scope

__all__ = ["ANYBODY", "Identity", "KeyRing", "KeyStore", "Kind", "Made", "Scope", "StoredKey"]
