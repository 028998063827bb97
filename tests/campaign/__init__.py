"""A campaign: real workers on real servers under load, and a monkey that kills, pauses and cuts at random moments.

What the workers did stands in the diary (`chores`), what the monkey and the operator did in the journal; at
the end both, the table, the queues and the receivers of callbacks are held against each other (`verdict`).
"""
