"""Embed files of texts of any size into one mergeable sketch; never keeps a vector or a text."""
