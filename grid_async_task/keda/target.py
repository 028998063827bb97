"""What the objects are called, and where the secrets are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from grid_async_task.domain.errors import ConfigurationError

#: characters; the longest object's name adds `-migrate` and Kubernetes up to 11 of its own, 63 are allowed
MAX_NAME_CHARACTERS = 40

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


class Mode(str, Enum):
    """How KEDA scales."""

    #: for long tasks: one Job for each waiting message, which is never removed while it works
    SCALED_JOB = "scaledjob"
    #: for short tasks: a Deployment that grows and shrinks with the queue
    SCALED_OBJECT = "scaledobject"


@dataclass(frozen=True)
class Target:
    """One kind of worker in one cluster. Raises `ConfigurationError` for names that Kubernetes refuses."""

    #: of all objects, some with an ending of their own
    name: str
    #: with the team's handlers in it
    image: str
    #: None: left to whoever applies the manifests
    namespace: str | None
    #: the Secret that holds URLs and passwords
    secret: str
    #: at most so many at a time
    max_workers: int

    def __post_init__(self) -> None:
        for what, name in (("name", self.name), ("secret", self.secret), ("namespace", self.namespace)):
            if name is not None and (len(name) > MAX_NAME_CHARACTERS or not _NAME.fullmatch(name)):
                raise ConfigurationError(
                    f"--{what} is {name!r}, but it has to be at most {MAX_NAME_CHARACTERS} of a-z, 0-9 and -,"
                    " beginning with a letter"
                )
        if not self.image or re.search(r"\s", self.image):
            raise ConfigurationError(f"--image is {self.image!r}, but it has to be an image's name")

    def metadata(self, name: str | None = None) -> dict[str, object]:
        """Of an object with this name, by default the target's own."""
        place = {} if self.namespace is None else {"namespace": self.namespace}
        return {"name": name or self.name, **place, "labels": self.labels}

    @property
    def labels(self) -> dict[str, str]:
        return {"app.kubernetes.io/name": self.name}
