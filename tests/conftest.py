"""Hypothesis: no time limit an example, since a busy machine is no failure; what fails is printed to be run again."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "llmring", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("llmring")
