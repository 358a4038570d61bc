"""How a SiteModel runs on this machine. Every engine takes and returns the same numpy arrays."""
