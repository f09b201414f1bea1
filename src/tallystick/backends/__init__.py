"""Databases that records end in.

The contract is in `base`. Each backend is a module, or a folder whose `backend.py` comes first; only its URL scheme
names it. Elasticsearch and OpenSearch are what differs between the two; what they share is in `search`.
"""

from tallystick.backends.base import ACCEPTED, Backend, BaseBackend, Line, Managed, Readable, WriteResult

__all__ = ["ACCEPTED", "Backend", "BaseBackend", "Line", "Managed", "Readable", "WriteResult"]
