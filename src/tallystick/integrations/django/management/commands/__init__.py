"""`manage.py tallystick`."""
