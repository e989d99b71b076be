"""What the agent reports about itself: one span for each stage, and Prometheus metrics."""
