"""The model registry: never embeds a text and never judges one."""
