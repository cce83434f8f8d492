"""Notes, in a version that ends as soon as it starts."""

raise SystemExit("a fault on purpose: this version does not start")
