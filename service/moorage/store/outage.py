"""That the store does not answer, as a value that every room may handle without importing its client."""


class StoreUnavailable(Exception):  # noqa: N818 - a condition of the world, which callers answer with 503
    """The store did not answer in time, or refused; whether it acted is unknown."""
