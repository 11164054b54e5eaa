"""A thin skin over the engine: REST and WebSocket in, JSON and frames out. It knows no node and no scheduler."""
