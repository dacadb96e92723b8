"""How a rank's operations are performed: torch.distributed, host memory, shared memory."""
