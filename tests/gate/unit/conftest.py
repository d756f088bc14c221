from hypothesis import settings

# The same examples every time and no clock: a red property is a bug, never the weather.
settings.register_profile("gate", derandomize=True, deadline=None, max_examples=60, database=None)
settings.load_profile("gate")
