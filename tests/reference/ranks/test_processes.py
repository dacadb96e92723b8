"""Memory of a rank on a host."""

import subprocess
import sys

import pytest

KEPT = """
import ctypes, sys, psutil
from reference.ranks.processes import keep_memory
if not hasattr(ctypes.CDLL(None), "mallopt"):
    sys.exit("mallopt")
if sys.argv[1] == "kept":
    keep_memory()
import torch
def resident():
    return psutil.Process().memory_info().rss
blocks = [torch.ones(2**18) for _ in range(256)]  # a quarter of a GiB
full = resident()
del blocks
print((full - resident()) / 2**28)
"""


@pytest.mark.parametrize(("how", "least", "most"), [("kept", -0.1, 0.1), ("usual", 0.8, 1.1)])
def test_memory_that_is_freed_stays_where_that_is_asked_for(how: str, least: float, most: float) -> None:
    ran = subprocess.run([sys.executable, "-c", KEPT, how], capture_output=True, text=True)
    if ran.stderr.strip() == "mallopt":
        pytest.skip("the C library here has no mallopt; glibc has")
    assert ran.returncode == 0, ran.stderr
    assert least < float(ran.stdout) < most, f"of the freed memory, {ran.stdout} was given back"
