"""Sticker files as the programs of chat services write them: Telegram's .tgs and .webm, HEIC of phones."""

import gzip
import json
from io import BytesIO

import av
import numpy as np
import pillow_heif

SHAPE_END = {
    "ty": "tr",
    "p": {"a": 0, "k": [0, 0]},
    "a": {"a": 0, "k": [0, 0]},
    "s": {"a": 0, "k": [100, 100]},
    "r": {"a": 0, "k": 0},
    "o": {"a": 0, "k": 100},
}


def square(color, *, first=0, end=60, opacity=100, side=256, more=()):
    """A layer with a square in the middle of 512 pixels, shown from one frame to another."""
    return {
        "ddd": 0,
        "ind": 1,
        "ty": 4,
        "nm": "square",
        "sr": 1,
        "ks": {
            "o": {"a": 0, "k": 100},
            "r": {"a": 0, "k": 0},
            "p": {"a": 0, "k": [256, 256, 0]},
            "a": {"a": 0, "k": [0, 0, 0]},
            "s": {"a": 0, "k": [100, 100, 100]},
        },
        "ao": 0,
        "ip": first,
        "op": end,
        "st": 0,
        "bm": 0,
        "shapes": [
            {
                "ty": "gr",
                "it": [
                    {
                        "ty": "rc",
                        "d": 1,
                        "s": {"a": 0, "k": [side, side]},
                        "p": {"a": 0, "k": [0, 0]},
                        "r": {"a": 0, "k": 0},
                    },
                    {
                        "ty": "fl",
                        "c": {"a": 0, "k": [value / 255 for value in (*color, 255)]},
                        "o": {"a": 0, "k": opacity},
                        "r": 1,
                    },
                    SHAPE_END,
                ],
            },
            *more,
        ],
    }


def lottie(*layers, end=60, **fields):
    """The JSON of a Lottie animation of 512 pixels and 60 frames a second, as Telegram wants them."""
    whole = {"tgs": 1, "v": "5.5.2", "fr": 60, "ip": 0, "op": end, "w": 512, "h": 512, "nm": "sticker"}
    whole |= {"ddd": 0, "assets": [], "layers": list(layers)} | fields
    return json.dumps(whole, separators=(",", ":")).encode()


def tgs(*layers, end=60, **fields):
    return gzip.compress(lottie(*layers, end=end, **fields), mtime=0)


def webm(frames, codec="libvpx-vp9", pixels="yuva420p"):
    """A video sticker of RGBA arrays, one picture every 33 ms."""
    stream = BytesIO()
    with av.open(stream, "w", format="webm") as container:
        track = container.add_stream(codec, rate=30)
        track.height, track.width = frames[0].shape[:2]
        track.pix_fmt = pixels
        if "vpx" in codec:
            # Frames that only others refer to and nobody sees: the encoder refuses them beside alpha.
            track.options = {"auto-alt-ref": "0", "deadline": "realtime", "cpu-used": "8"}
        for number, pixel_array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixel_array, format="rgba").reformat(format=pixels)
            frame.pts = number
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return stream.getvalue()


def half(color, size=(64, 48)):
    """An RGBA array: its left half of one color, its right half transparent."""
    pixels = np.zeros((size[1], size[0], 4), np.uint8)
    pixels[:, : size[0] // 2] = (*color, 255)
    return pixels


def heic(image, **options):
    stream = BytesIO()
    pillow_heif.from_pillow(image).save(stream, **({"quality": -1} | options))
    return stream.getvalue()
