"""Training: patches by Wald's protocol, the fit, and the configurations of the shipped presets."""
