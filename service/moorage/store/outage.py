"""That the store does not answer, or has no room, as values that every room may handle without importing its client."""


class StoreUnavailable(Exception):  # noqa: N818 - a condition of the world, which callers answer with 503
    """The store did not answer in time, or refused; whether it acted is unknown."""


class StoreFull(StoreUnavailable):
    """The store answers and has no room for more; it did not act."""


class Unreadable(StoreUnavailable):
    """What stands under a key has another type or form than we write: asking again would not help."""
