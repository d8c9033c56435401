"""Who may do what with a task queue over the network. Knows nothing of HTTP frameworks.

    credentials ─▶ keyring, tokens: an Identity ─▶ may(scope, queue=, task=)

`scopes.py` says what there is to be allowed, `identity.py` who has been recognised; `keys.py` is what
an API key is, `keystore.py` where keys are kept, `keyring.py` what a service knows of them.
"""

from __future__ import annotations

from taskrunner.access.identity import ANYBODY, Identity, Kind
from taskrunner.access.keyring import KeyRing
from taskrunner.access.keys import StoredKey
from taskrunner.access.keystore import KeyStore, Made
from taskrunner.access.scopes import Scope

__all__ = ["ANYBODY", "Identity", "KeyRing", "KeyStore", "Kind", "Made", "Scope", "StoredKey"]
