"""What the worker costs, as ratios to the least that could be done and to its peers: `make bench`.

    site.py        the servers, started as in the tests, with their default durability
    contenders/    what is measured, each in a process of its own, and how it is started
    rounds.py      interleaved rounds: a ratio is taken within one round, so that a machine's moods cancel out
    figures.py     a figure: one value a round, its median and spread, its goal
    page.py        the table of docs/performance.md; plot.py the picture

Each other module measures one group of figures: `measure(site, effort) -> Result`.
"""
