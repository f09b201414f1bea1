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

The contract needs pytest. What your store cannot do by its nature is relaxed by the attributes of `BackendContract`,
each of which says what it gives up; without any, the contract is strict.
"""

from typing import TYPE_CHECKING

from tallystick.plugins import missing_extra
from tallystick.testing.builders import at, counters, make_batch, merge, varied_records
from tallystick.testing.capture import Captured, capture

try:
    import pytest
except ImportError as error:  # capture() serves any test runner; the contract alone is written for pytest
    _missing = missing_extra("test", error)

    if not TYPE_CHECKING:

        def __getattr__(name: str) -> object:
            if name in ("BackendContract", "deliver"):
                raise _missing
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

else:
    # Before these modules are imported, or their assertions would say nothing about what failed.
    pytest.register_assert_rewrite(
        *(
            f"tallystick.testing.{part}"
            for part in ("base", "roundtrip", "idempotency", "answers", "hostile", "lifecycle", "copying", "channels")
        )
    )
    from tallystick.testing.base import deliver
    from tallystick.testing.contract import BackendContract

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
