"""`python -m tallystick` is `tallystick`."""

from __future__ import annotations

from tallystick.cli.app import main

main()
