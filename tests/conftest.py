"""What every test needs: one thread per process, since tiny models collapse under several on busy cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
