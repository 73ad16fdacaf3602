"""Jobs for the processes that look at images: the function is found by its module there too."""

import os
import signal


def odd_job(root, path):
    """Crashes, hangs or is broken when asked to."""
    if path == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "noise":
        os.write(1, b"")
        print("a library talks")
    if path == "broken":
        raise KeyError("no such thing")
    if path == "hang":
        signal.pause()
    return {"path": path, "root": str(root), "pid": os.getpid()}
