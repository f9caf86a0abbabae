"""Events become spans: children of the root, each written with the times at which it happened."""
