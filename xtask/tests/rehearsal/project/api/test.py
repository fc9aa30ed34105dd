"""One test, which closes as pytest does."""

import sys

from server import GREETING

passed = GREETING != ""
print("1 passed in 0.01s" if passed else "1 failed in 0.01s")
sys.exit(not passed)
