"""How a SiteModel runs on this machine."""
