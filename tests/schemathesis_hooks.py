"""What schemathesis does not know by itself: how rows are sent."""

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def rows(_context, value):
    """Lines are sent as they are: the schema says no more than that they are a text."""
    return value if isinstance(value, bytes) else str(value).encode()
