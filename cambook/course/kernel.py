"""The kernel of a notebook that runs from outside; imported when one is started, since it needs the extra `course`."""

from __future__ import annotations

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec


class ThisPython(AsyncKernelManager):
    """Starts its kernel in the interpreter that runs this, whatever the machine calls `python3`."""

    @property
    def kernel_spec(self) -> KernelSpec:
        figures = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # whatever a matplotlibrc says
        return KernelSpec(**get_kernel_dict(extra_arguments=["--log-level=CRITICAL"]), env=figures)
