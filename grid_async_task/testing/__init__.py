"""For authors of adapters: the tests that an adapter has to pass."""
