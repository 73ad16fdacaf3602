"""Jobs for the processes that look at images: the function is found by its module there too."""

import os
import signal

from mghft.pipeline.images.color import ImageError


def odd_job(root, path):
    """Crashes, hangs or is broken when asked to."""
    if path == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "noise":
        os.write(1, b"a library written in C talks\n")
        print("a library talks")
    if path == "broken":
        raise KeyError("no such thing")
    if path == "bad":
        raise ImageError("the image is bad")
    if path == "large":
        bytearray(1 << 40)
    if path == "object":
        return object()
    if path == "hang":
        signal.pause()
    return {"path": path, "root": str(root), "pid": os.getpid()}
