"""Self-pruning: pattern x score x schedule over masked linear layers."""
