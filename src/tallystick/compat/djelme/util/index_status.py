"""One index of a record type."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass
class DjelmeIndexStatus:
    index_name: str
    is_expired: bool = False
