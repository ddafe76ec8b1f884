"""The modules that a trial loads on first use, for processes that are forked after this one is imported.

Nothing is computed here and no thread starts.
"""

import contextlib
import importlib

# pyarrow loads pandas with the first table, numba SciPy's BLAS; only what is installed is loaded.
for module in ("trainables.simclr", "pandas", "pyarrow.compute", "scipy.linalg", "sklearn.metrics"):
    with contextlib.suppress(ImportError):
        importlib.import_module(module)

with contextlib.suppress(ImportError):
    from numba.core.registry import cpu_target

    import trainables.augment.numba_kernel
    import trainables.kernels.lars_kernel  # noqa: F401

    # The types of all functions that numba knows, which else the first call of a kernel loads in every process.
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()
