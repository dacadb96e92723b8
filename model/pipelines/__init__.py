"""Pipelines: the serving loop, tensor parallelism, and schedules of torch.distributed.pipelining."""
