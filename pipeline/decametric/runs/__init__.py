"""Who computes: Dask clients, and many scenes in a row."""
