"""The same federated rounds as others would run them, for comparison only."""
