"""What must differ between sandboxes that Lambda restores from one snapshot (SnapStart).

All that is heavy is in the snapshot: modules, the parsed network with its memory planned by a first run, the clients.
Nothing in it is an identity: no connection has been opened, no request id drawn. What is left is the state of
`random`, which spreads retries in time: restored alike in every sandbox, all would come again at the same moments.
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html
"""

from __future__ import annotations

import importlib
import random


def draw_anew_after_restore() -> bool:
    """Has `random` seeded afresh by the system after each restore; tells whether there is a runtime to ask for it."""
    try:
        hooks = importlib.import_module("snapshot_restore_py")  # part of Lambda's own Python images
    except ImportError:
        return False
    hooks.register_after_restore(random.seed)
    return True
