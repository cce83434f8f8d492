"""The web service, in a version that ends as soon as it starts: a fault on purpose."""

raise SystemExit("this version does not start")
