"""Values that training scripts keep beside their weights, read from a pickle without their own code.

A checkpoint of the released code holds its `argparse.Namespace`; scripts put paths into it, and numpy scalars
such as a best accuracy beside it. torch's reader of plain tensors refuses both. Here each becomes a harmless
value of ours: a pure path, a Python number. Whatever else a file asks for is still refused by name.
"""

from __future__ import annotations

import argparse
import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

# A number or truth value of fixed width, as numpy's dtypes pickle themselves: "f8", "i4", "b1".
_PLAIN_DTYPE = re.compile(r"[biuf]\d{1,2}")
_BYTE_ORDERS = ("<", ">", "|", "=")


class RefusedValueError(ValueError):
    """What a file asks for instead of a plain value, as the end of "was refused because it …"."""


class _PickledDtype:
    """numpy's dtype of one number; kept as a code, since numpy's own reader of its state trusts the file."""

    def __init__(self, code: str, align: Any = False, copy: Any = False) -> None:
        if not isinstance(code, str) or not _PLAIN_DTYPE.fullmatch(code):
            raise RefusedValueError(f"asks for numpy.dtype({str(code)[:20]!r}), which is not a plain number")
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in _BYTE_ORDERS:
            raise RefusedValueError("asks for a numpy.dtype without a byte order")
        self.order = order


def _read_scalar(dtype: _PickledDtype, data: bytes) -> Any:
    """Return the Python number of a pickled numpy scalar."""
    if not isinstance(dtype, _PickledDtype) or not isinstance(data, bytes):
        raise RefusedValueError("asks for a numpy scalar that is not a plain number")
    return np.frombuffer(data, np.dtype(dtype.order + dtype.code), count=1).item()


_PATHS = {"PosixPath": PurePosixPath, "WindowsPath": PureWindowsPath}
# For `torch.serialization.safe_globals`: what stands in for a name in the file. Newer versions of Python and
# numpy pickle the same things under other names.
PLAIN_VALUES: list[Any] = [
    argparse.Namespace,
    (_PickledDtype, "numpy.dtype"),
    *((_read_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *(
        (path, f"{home}.{prefix}{name}")
        for name, path in _PATHS.items()
        for home in ("pathlib", "pathlib._local")
        for prefix in ("", "Pure")
    ),
]
