"""What the agent tells about itself: a span a stage, and Prometheus metrics."""
