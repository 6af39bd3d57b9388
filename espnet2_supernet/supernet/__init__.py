"""One model, a table of named subnets, and the verbs on that table."""
