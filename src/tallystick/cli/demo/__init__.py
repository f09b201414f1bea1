"""`tallystick demo`: real input, recorded and shown. The shop in it stands on its own, see shop.py."""
