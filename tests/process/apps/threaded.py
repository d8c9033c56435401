"""An application whose import leaves a thread running, as some client libraries do."""

from __future__ import annotations

import threading

from tests.process.apps.basic import app

threading.Thread(target=threading.Event().wait, name="left running", daemon=True).start()

__all__ = ["app"]
