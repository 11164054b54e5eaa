"""Real fakes for tests, with tests of their own."""
