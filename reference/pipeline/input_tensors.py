"""What a batch is to a stage: where its sequences lie, and the token ids that go into the first one.

Shapes: B requests of a batch, T new tokens of each (padded).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reference.llama.attention_metadata import ForwardBatch
from reference.scheduling.batch import ScheduleBatch


def forward_batch(batch: ScheduleBatch) -> ForwardBatch:
    """Where the batch's sequences lie and how many tokens they bring."""
    return ForwardBatch(rows=batch.rows, start=batch.starts, length=batch.lengths)


def input_ids(batch: ScheduleBatch) -> Tensor:
    """The token ids [B, T] int64, padded with 0, on the host."""
    # torch.tensor reads lists at a third of the speed
    return torch.from_numpy(np.array(batch.padded(), dtype=np.int64))
