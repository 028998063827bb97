"""The whole product in twenty seconds, without a server: `grid-async-task demo`.

Workers in processes of their own, a producer and a client share one SQLite file in a temporary
folder. Read on in this order, as an example of the API: `handlers.py` (what a team writes),
`worker.py` (how it is run), `scenes.py` (what is sent), `story.py` (what happens to it), `stage.py`
(all of it joined).
"""
