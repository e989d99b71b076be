"""The one GPU that the engines share: which it is, what stands in the way of using it, and MPS."""
