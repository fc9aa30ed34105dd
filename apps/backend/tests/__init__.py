"""Black-box tests: real processes, a real Postgres, a real Redis and HTTP over loopback."""
