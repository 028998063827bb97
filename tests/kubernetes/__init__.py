"""What tests of manifests need; not for tests/unit, which do without these tools."""
