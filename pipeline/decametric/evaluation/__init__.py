"""Proof of quality: scores of predictors on a scene, interpolation always beside."""
