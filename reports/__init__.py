"""Results to pages, same input same bytes: never computes a statistic and never opens the store."""
