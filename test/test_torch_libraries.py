"""torch's libraries are linked before torch is imported, so that the import does not hold the interpreter for long."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import ROOT

from campus_visual_gps.engines import torch_libraries

LOADED = """
import sys
from pathlib import Path
from campus_visual_gps.engines.torch_libraries import load_torch_libraries
load_torch_libraries()
assert "torch" not in sys.modules
linked = "/libtorch_cpu.so" in Path("/proc/self/maps").read_text()
import torch
print(linked, torch.ones(3).sum().item())
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="lists the linked libraries on Linux only")
def test_the_libraries_are_linked_without_the_module_and_the_module_works_afterwards():
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "3.0"]


@pytest.mark.parametrize("spec", [None, SimpleNamespace(origin=None), SimpleNamespace(origin="/nowhere/__init__.py")])
def test_without_a_torch_whose_libraries_are_there_nothing_happens(spec, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    torch_libraries.load_torch_libraries()
