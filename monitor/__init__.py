"""The service: the only room that knows the others; nothing outside imports it."""
