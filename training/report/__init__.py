"""Reports from typed results: Markdown, tables, plots and maps. Never a second inference."""
