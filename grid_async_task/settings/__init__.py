"""What can be set from outside (SPEC section 9): environment, `.env`, keyword arguments.

A plain reader on the standard library: pydantic would take longer to import than all the
rest of a worker needs to start, and a worker that KEDA wakes is waited for.

    model.py        `Settings`: every setting, its default, its unit
    environment.py  the variables that are set, in the environment or the nearest `.env`
    older_names.py  RABBITMQ_*, MYSQL_* and the other names of before
    values.py       from text to value, or a sentence about what is allowed
    urls.py         the two server addresses
    masking.py      showing a value without its secret
"""

from grid_async_task.settings.masking import mask_url
from grid_async_task.settings.model import Settings

__all__ = ["Settings", "mask_url"]
