"""What holds for all tests: of hypothesis, of the registry, of signals."""

import os
import signal
import tempfile

from hypothesis import HealthCheck, settings

# No time limit an example, since a busy machine is no failure; what fails is printed to be run again.
settings.register_profile(
    "llmring", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("llmring")

# No test asks the registry of the world, or reads what whoever runs the tests has kept of it.
os.environ["LLMRING_REGISTRY_REFRESH"] = "off"
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="llmring-tests-")

# What one test has learned of limits is not for the next one, nor for whoever runs them.
os.environ["LLMRING_STATE"] = "off"
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="llmring-tests-")

# Nor do their routers show themselves among those of whoever runs the tests.
os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="llmring-tests-")
os.environ.pop("LLMRING_STATUS", None)

# Nor do they leave receipts of what a test has scripted.
os.environ["LLMRING_RECEIPTS"] = "off"

# In the background of a shell SIGINT is ignored, and so it would be by the commands that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
