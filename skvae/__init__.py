"""scikit-learn estimators over PyTorch variational autoencoders, for mixed tables with holes."""

__version__ = "0.1.0.dev0"
