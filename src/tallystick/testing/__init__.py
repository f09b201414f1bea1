"""For tests: what was recorded (`capture`), the contract of backends, and builders of records and batches.

A backend of your own is proven by a subclass in a test file of yours:

    from tallystick.testing import BackendContract

    class TestMyBackend(BackendContract):
        def make_backend(self, tmp_path):
            return MyBackend(tmp_path / "store")

        def reopen(self, backend):
            return MyBackend(backend.path)

A store that can only append, or is told too little of a record, takes the parts of the contract that it can keep:
`tallystick.testing.idempotency.Idempotency` and its neighbours are classes of their own.

Needs pytest. What your store cannot do by its nature is relaxed by the attributes of `BackendContract`, each of
which says what it gives up; without any, the contract is strict.
"""

import pytest

_PARTS = ("roundtrip", "idempotency", "answers", "hostile", "lifecycle")

# Before the modules below are imported, or their assertions would say nothing about what failed.
pytest.register_assert_rewrite(
    *(f"tallystick.testing.{part}" for part in ("base", "builders", *_PARTS)),
)

from tallystick.testing.base import deliver  # noqa: E402
from tallystick.testing.builders import at, counters, make_batch, merge, varied_records  # noqa: E402
from tallystick.testing.capture import Captured, capture  # noqa: E402
from tallystick.testing.contract import BackendContract  # noqa: E402

__all__ = [
    "BackendContract",
    "Captured",
    "at",
    "capture",
    "counters",
    "deliver",
    "make_batch",
    "merge",
    "varied_records",
]
