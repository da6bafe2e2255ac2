"""Quality with intervals, significance, thresholds, cost and latency."""
