"""The file or folder of a backend that keeps records on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from tallystick.errors import SettingsError


def own_path(path: str | os.PathLike[str]) -> Path:
    """The path, absolute. Raises `SettingsError` for one that is not UTF-8, which a relative one in such a working
    directory is, too: it stands in texts, such as the pipeline's and the heartbeat's.
    """
    found = Path(path).expanduser().absolute()
    if str(found).encode("utf-8", "replace").decode() != str(found):
        raise SettingsError(
            f"backend: the path {str(found)!r} is not UTF-8; give an absolute path that is, or start in another folder"
        )
    return found
