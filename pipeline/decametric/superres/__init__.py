"""Sharpening: predictors, networks, bundles, and the lazy pipeline that runs them."""
