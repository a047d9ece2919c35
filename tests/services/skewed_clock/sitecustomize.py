"""Shifts the wall clock of this process by `CLOCK_SKEW_SECONDS`; found by the interpreter before anything else runs.

Clocks that only measure (monotonic, perf_counter, CPU time) stay true, and so does what reads the clock in C. Instances of `datetime` are
the real class's.
"""

import datetime
import os
import time
from typing import Any

skew = float(os.environ["CLOCK_SKEW_SECONDS"])
real_time, real_time_ns, real_gettime, real_gmtime, real_localtime = (
    time.time,
    time.time_ns,
    time.clock_gettime,
    time.gmtime,
    time.localtime,
)
real_datetime = datetime.datetime


class _Datetimes(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, real_datetime)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, real_datetime)


class Datetime(real_datetime, metaclass=_Datetimes):
    """The same class, asked for the time now."""

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return real_datetime(*arguments, **named)

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return real_datetime.now(tz) + datetime.timedelta(seconds=skew)

    @classmethod
    def utcnow(cls) -> Any:
        return real_datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=skew)

    @classmethod
    def today(cls) -> Any:
        return real_datetime.now() + datetime.timedelta(seconds=skew)


time.time = lambda: real_time() + skew
time.time_ns = lambda: real_time_ns() + int(skew * 1e9)
time.clock_gettime = lambda clock: real_gettime(clock) + (skew if clock == time.CLOCK_REALTIME else 0)
time.gmtime = lambda seconds=None: real_gmtime(time.time() if seconds is None else seconds)
time.localtime = lambda seconds=None: real_localtime(time.time() if seconds is None else seconds)
datetime.datetime = Datetime
