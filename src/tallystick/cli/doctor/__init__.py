"""`tallystick doctor`: what is wrong here, and the remedy."""
