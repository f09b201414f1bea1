"""Databases that records end in. The contract is in `base`; each backend is a module that only its URL scheme names."""

from tallystick.backends.base import ACCEPTED, Backend, BaseBackend, Line, Managed, Readable, WriteResult

__all__ = ["ACCEPTED", "Backend", "BaseBackend", "Line", "Managed", "Readable", "WriteResult"]
