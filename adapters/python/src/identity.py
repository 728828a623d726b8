"""What must differ between copies of a VM, and is kept by Python rather than by the kernel."""

import random
import tempfile
import uuid


def renew():
    """Draws anew after a fork or a restore. Hash seeds stay: they are part of live dicts."""
    random.seed()
    tempfile._name_sequence = None
    uuid._node = None
    uuid._last_timestamp = None
    uuid._last_timestamp_v7 = None
    uuid._last_counter_v7 = 0
