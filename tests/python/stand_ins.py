"""Imports torch from a wheel that may lack NVIDIA's libraries.

Nothing of CUDA is called in these tests, so that empty libraries of their names, bound lazily, are enough.
"""

import os
import re
import subprocess
import sys


def torch_from(libtorch, folder):
    """Starts the script again with empty libraries, kept in `folder`, in place of those that are missing."""
    if "STAND_INS" in os.environ:
        sys.setdlopenflags(os.RTLD_LAZY)
        return
    lib = os.path.join(libtorch, "lib")
    listed = [subprocess.run(["ldd", os.path.join(lib, f)], capture_output=True, text=True).stdout
              for f in os.listdir(lib) if re.fullmatch(r"lib.*\.so", f)]
    missing = sorted(set(re.findall(r"(\S+) => not found", "".join(listed))))
    place = os.path.join(folder, "stand-ins")
    os.makedirs(place, exist_ok=True)
    for name in missing:
        out = os.path.join(place, name)
        subprocess.run(["cc", "-shared", f"-Wl,-soname,{name}", "-o", out, "-x", "c", os.devnull], check=True)
    search = os.pathsep.join(filter(None, [os.environ.get("LD_LIBRARY_PATH"), place]))
    modules = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), os.path.dirname(libtorch)]))
    environment = dict(os.environ, LD_LIBRARY_PATH=search, PYTHONPATH=modules, STAND_INS="1")
    environment.update(CUDA_VISIBLE_DEVICES="", HF_HUB_OFFLINE="1")
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)
