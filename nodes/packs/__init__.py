"""What others wrote: how packs are found and imported, and how each generation of nodes becomes NodeDefinitions."""
