"""A seeded adversary over `State`, and a ghost that keeps a record of its own."""
