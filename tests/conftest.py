"""One thread for all tests: sums come out in one order, and tests that run side by side do not fight for cores."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
