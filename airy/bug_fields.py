"""What may be logged of an unexpected error that a request, a record or a piece of work caused."""

PLACES_MAX = 30  # of a traceback, the innermost ones


def bug_fields(error: BaseException) -> dict[str, str]:
    """Its type and the places of its traceback, as fields of a log line. Its text may quote a secret."""
    return {"error": type(error).__name__, "traceback": _places(error)}


def _places(error: BaseException) -> str:
    """`module:line` of each frame, outermost first."""
    places, trace = [], error.__traceback__
    while trace is not None:
        places.append(f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(places[-PLACES_MAX:])
