"""The command `mghft`; every heavy import is inside a function, so that its help is at once there."""
