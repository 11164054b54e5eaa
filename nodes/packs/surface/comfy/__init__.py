"""Names that packs import from `comfy`."""
