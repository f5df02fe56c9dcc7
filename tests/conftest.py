"""What tests of several folders share."""

import torch

from tests.integration.conftest import ran

__all__ = ["ran"]

torch.set_num_threads(1)  # beside a busy neighbour more threads wait for each other
