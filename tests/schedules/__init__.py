"""Schedules of faults: the promises of SPEC section 4, broken wherever they can be.

    history.py    a whole installation in memory, in which every call of a port is a numbered step
    faults.py     what can befall a process at a step: a crash, a pause, an outage, a stop, an operator ...
    scenarios.py  what the installation is given to do
    promises.py   watches a history and says which promise it broke
    campaign.py   all schedules of one fault, all pairs of two, and samples of them
    wrong.py      workers with one rule left out, each of which has to be caught

A schedule is written as `scenario: fault@step, fault@step`. To see one, step by step:

    python -m tests.schedules 'retry: crash-after@5, pause@17'
"""
