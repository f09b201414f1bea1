"""The contract that every backend keeps, in one class to subclass."""

from __future__ import annotations

from tallystick.testing.copying import Copying
from tallystick.testing.hostile import Hostile
from tallystick.testing.idempotency import Idempotency, Replacing
from tallystick.testing.lifecycle import Lifecycle
from tallystick.testing.roundtrip import RoundTrip


class BackendContract(RoundTrip, Idempotency, Replacing, Hostile, Lifecycle, Copying):
    """Subclass it in a test file and give `make_backend` and `reopen`; see `tallystick.testing.base.Contract`."""
