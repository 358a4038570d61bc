"""The tables of an experiments directory, in Markdown and CSV."""
