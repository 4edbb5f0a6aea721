"""Self-contained HTML: no network, no script."""
