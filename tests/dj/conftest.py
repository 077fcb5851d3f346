"""Each server starts once, when the first test asks for it."""

from __future__ import annotations

import os

os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # asks the bucket's layout of emulators that stall
os.environ["DJ_IGNORE_CONFIG_FILE"] = "true"
