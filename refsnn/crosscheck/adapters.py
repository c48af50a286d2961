"""The adapters that come with the package, by name; none of them is imported before it is asked for."""

from __future__ import annotations

import importlib

from refsnn import checks
from refsnn.crosscheck.adapter import Adapter

MODULES = {
    "torch": "torch_autograd",
    "torch-network": "torch_network",
    "snntorch": "snntorch",
    "spikingjelly": "spikingjelly",
    "norse": "norse",
    "sinabs": "sinabs",
    "spyx": "spyx",
    "brainpy": "brainpy",
}


def adapter_of(name: str) -> Adapter:
    """An adapter by its name; the framework need not be installed for it.

    Parameters
    ----------
    name : str
        One of `MODULES`.

    Returns
    -------
    Adapter

    Raises
    ------
    ValueError
        Naming all that there are.

    Examples
    --------
    >>> adapter_of("norse").title
    'Norse, lif_box_feed_forward_step'
    """
    checks.choice("framework", name, MODULES)
    adapter: Adapter = importlib.import_module(f"refsnn.crosscheck.{MODULES[name]}").ADAPTER
    return adapter
