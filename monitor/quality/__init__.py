"""Accuracy on labels that came late: reads answers and truths by task and measures; it never writes or prints."""
