"""How far it scales: a simulation whose service times are measured. `docs/scale.md` has its results.

    python -m benchmarks.scale               simulate with the stored service times; writes docs/scale.md and its plots
    python -m benchmarks.scale --calibrate   measure the service times first (starts servers of its own, some minutes)

Begin with `model.py`.
"""
