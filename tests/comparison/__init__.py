"""The endpoint under test against the SDK's own application, exchange by exchange.

The endpoint answers what it can prove well formed by itself and hands everything else to the SDK, so there is one question that
matters more than any unit test: would the SDK have answered the same? Each case here is one HTTP exchange, played to both
applications in this process, and the two answers have to agree in status, media type, headers that carry meaning, and body.

``cases/`` holds the modern era as tables, ``legacy.py`` the session era as scripts; ``differences.py`` is the short list of exchanges
where moorage means to answer otherwise, each with its reason; ``mutants.py`` breaks an application on purpose, to show that the
comparison would notice.
"""
