"""The use cases, on ports only. Begin with `worker.py`: it is the way of one task, top to bottom."""
