"""`python -m mghft`, which `accelerate launch -m mghft` needs."""

from mghft.cli import main

main()
