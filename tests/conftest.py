"""Hypothesis: no time limit an example, since a busy machine is no failure; what fails is printed to be run again."""

import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "llmring", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("llmring")

# In the background of a shell SIGINT is ignored, and so it would be by the commands that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
