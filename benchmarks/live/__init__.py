"""Live runs measured with real parts: cameras over HTTP, the real network, real viewers."""
