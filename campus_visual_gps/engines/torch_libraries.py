"""Loads torch's shared libraries without holding the interpreter.

`import torch` links about a gigabyte of libraries inside one call that holds Python's global lock: nothing else of the
process runs meanwhile, half a second on a fast computer and many seconds from a slow disk. A call through ctypes holds
no lock. When torch is imported afterwards, its libraries are there already.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from contextlib import suppress
from pathlib import Path

# In torch's order and with torch's flags: the libraries that it depends on are visible to all, its own are not.
_LIBRARIES = {"libtorch_global_deps.so": "RTLD_GLOBAL", "libtorch.so": "RTLD_LOCAL"}


def load_torch_libraries() -> None:
    """Link the libraries of the installed torch. Where that fails, `import torch` will say why."""
    spec = importlib.util.find_spec("torch")
    if "torch" in sys.modules or spec is None or spec.origin is None or not hasattr(os, "RTLD_GLOBAL"):
        return
    with suppress(AttributeError, OSError, TypeError):  # no such function, as on Windows
        dlopen = ctypes.CDLL(None).dlopen
        dlopen.restype = ctypes.c_void_p
        for name, visibility in _LIBRARIES.items():
            path = Path(spec.origin).parent / "lib" / name
            if path.exists():
                dlopen(os.fsencode(path), os.RTLD_NOW | getattr(os, visibility))
