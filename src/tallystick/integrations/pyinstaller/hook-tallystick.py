"""Read by PyInstaller when an application imports tallystick."""

from __future__ import annotations

from tallystick.integrations.pyinstaller import hidden_imports

hiddenimports = hidden_imports()
