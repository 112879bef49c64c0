"""SLOs, burn rates and Prometheus text: never sends a page and never computes drift."""
